package webhook

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
)

// review is the part of an AdmissionReview that a decision needs. The API
// server sends the UID before the objects, so it is known even if they are cut.
type review struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Request    request `json:"request"`
}

type request struct {
	UID  types.UID `json:"uid"`
	Kind struct {
		Group   string `json:"group"`
		Version string `json:"version"`
		Kind    string `json:"kind"`
	} `json:"kind"`
	SubResource string                `json:"subResource"`
	Name        string                `json:"name"`
	Namespace   string                `json:"namespace"`
	Operation   admissionv1.Operation `json:"operation"`
	UserInfo    userInfo              `json:"userInfo"`
	DryRun      bool                  `json:"dryRun"`
	Object      image.Manifest        `json:"object"`
	OldObject   image.Manifest        `json:"oldObject"`
}

// userInfo is who sent the object. All but the name is read only if it matters:
// a user may have many groups.
type userInfo struct {
	Username string         `json:"username"`
	UID      string         `json:"uid"`
	Groups   jsontext.Value `json:"groups"`
	Extra    jsontext.Value `json:"extra"`
}

// user returns the user, whose right to something is to be asked for.
func (u *userInfo) user() (gate.User, error) {
	user := gate.User{Name: u.Username, UID: u.UID}
	if len(u.Groups) > 0 {
		if err := json.Unmarshal(u.Groups, &user.Groups); err != nil {
			return gate.User{}, fmt.Errorf("decode userInfo.groups: %w", err)
		}
	}
	if len(u.Extra) > 0 {
		if err := json.Unmarshal(u.Extra, &user.Extra); err != nil {
			return gate.User{}, fmt.Errorf("decode userInfo.extra: %w", err)
		}
	}
	return user, nil
}

var errTooLarge = errors.New("review is too large")

// decode reads a review of at most limit bytes. What it read before an error
// stays in rv.
func decode(body io.Reader, limit int64, rv *review) error {
	if err := json.UnmarshalRead(&limitedReader{body, limit, limit}, rv); err != nil {
		return fmt.Errorf("decode AdmissionReview: %w", err)
	}
	if rv.APIVersion != admissionv1.SchemeGroupVersion.String() || rv.Kind != "AdmissionReview" {
		return fmt.Errorf("decode AdmissionReview: got apiVersion %q and kind %q, want %q and \"AdmissionReview\"",
			rv.APIVersion, rv.Kind, admissionv1.SchemeGroupVersion)
	}
	if rv.Request.UID == "" {
		return errors.New("decode AdmissionReview: it has no request.uid")
	}
	return nil
}

// limitedReader fails at the limit, where an io.LimitReader would end and make
// the rest look as if it had been cut off by the network.
type limitedReader struct {
	reader      io.Reader
	left, limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooLarge, l.limit)
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.reader.Read(p)
	l.left -= int64(n)
	return n, err
}

// answer is a response in the making; UID and the envelope are added on writing.
type answer struct {
	allowed     bool
	code        int32
	reason      metav1.StatusReason
	message     string
	warnings    []string
	annotations map[string]string
}

func allow() answer { return answer{allowed: true} }

// write sends the one complete AdmissionReview that every review gets. Without
// a UID there was no review to answer, which the HTTP status says too.
func (a answer) write(w http.ResponseWriter, uid types.UID) error {
	response := &admissionv1.AdmissionResponse{
		UID: uid, Allowed: a.allowed, Warnings: a.warnings, AuditAnnotations: a.annotations,
	}
	if !a.allowed {
		response.Result = &metav1.Status{Status: metav1.StatusFailure, Code: a.code, Reason: a.reason, Message: a.message}
	}
	var body bytes.Buffer
	if err := stdjson.NewEncoder(&body).Encode(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: response,
	}); err != nil {
		return fmt.Errorf("encode AdmissionReview: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	if uid == "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	if _, err := w.Write(body.Bytes()); err != nil {
		return fmt.Errorf("send AdmissionReview: %w", err)
	}
	return nil
}
