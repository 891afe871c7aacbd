package webhook

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// answer is a response in the making; UID and the envelope are added on writing.
type answer struct {
	allowed     bool
	code        int32
	reason      metav1.StatusReason
	message     string
	warnings    []string
	annotations []annotation
	// patch is a JSON patch of the object; empty: none.
	patch []byte
}

// annotation is an audit annotation; an answer has each key once.
type annotation struct{ key, value string }

func allow() answer { return answer{allowed: true} }

// unflushed is up to what size of an answer net/http finds its length itself.
const unflushed = 2048

// write sends the one complete AdmissionReview that every review gets. Without
// a UID there was no review to answer, which the HTTP status says too.
func (a *answer) write(w http.ResponseWriter, uid types.UID, buffers *buffers) error {
	buffer := buffers.get()
	defer buffers.put(buffer)
	body := a.append((*buffer)[:0], uid)
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	if len(body) > unflushed {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if uid == "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("send AdmissionReview: %w", err)
	}
	return nil
}

// append appends the AdmissionReview in JSON. It is written by hand since every
// review gets one: encoding/json takes several times as long.
func (a *answer) append(b []byte, uid types.UID) []byte {
	b = append(b, `{"kind":"`+reviewKind+`","apiVersion":"`+admissionv1.GroupName+`/v1","response":{"uid":`...)
	b = appendString(b, string(uid))
	b = append(b, `,"allowed":`...)
	b = strconv.AppendBool(b, a.allowed)
	if !a.allowed {
		b = append(b, `,"status":{"metadata":{},"status":"`+metav1.StatusFailure+`","message":`...)
		b = appendString(b, a.message)
		b = append(b, `,"reason":`...)
		b = appendString(b, string(a.reason))
		b = append(b, `,"code":`...)
		b = strconv.AppendInt(b, int64(a.code), 10)
		b = append(b, '}')
	}
	b = a.appendPatch(b)
	b = a.appendAnnotations(b)
	b = a.appendWarnings(b)
	return append(b, "}}\n"...)
}

func (a *answer) appendPatch(b []byte) []byte {
	if len(a.patch) == 0 {
		return b
	}
	b = append(b, `,"patchType":"`+string(admissionv1.PatchTypeJSONPatch)+`","patch":"`...)
	b = base64.StdEncoding.AppendEncode(b, a.patch)
	return append(b, '"')
}

func (a *answer) appendAnnotations(b []byte) []byte {
	if len(a.annotations) == 0 {
		return b
	}
	b = append(b, `,"auditAnnotations"`...)
	separator := byte('{')
	b = append(b, ':')
	for _, one := range a.annotations {
		b = append(b, separator)
		b = appendString(b, one.key)
		b = append(b, ':')
		b = appendString(b, one.value)
		separator = ','
	}
	return append(b, '}')
}

func (a *answer) appendWarnings(b []byte) []byte {
	if len(a.warnings) == 0 {
		return b
	}
	b = append(b, `,"warnings":`...)
	separator := byte('[')
	for _, one := range a.warnings {
		b = append(b, separator)
		b = appendString(b, one)
		separator = ','
	}
	return append(b, ']')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	// Its only error is about bytes that are no UTF-8, which it has replaced.
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
