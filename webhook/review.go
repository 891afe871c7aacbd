package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/image"
)

// review is the part of an AdmissionReview that a decision needs. The API
// server sends the UID before the objects, so it is known even if they are cut.
type review struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Request    request `json:"request"`

	// bytes is how long it was.
	bytes int64
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
	Object      object                `json:"object"`
	// OldObject is nil unless the object is updated or deleted.
	OldObject *image.Manifest `json:"oldObject"`
}

// object is the object that is asked about.
type object struct {
	image.Manifest

	// isThere is false if it is null or not sent at all.
	isThere bool
}

// UnmarshalJSONFrom reads the object and notes that it is there.
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	o.isThere = dec.PeekKind() != 'n'
	return json.UnmarshalDecode(dec, &o.Manifest)
}

// userInfo is who sent the object, for the log.
type userInfo struct {
	Username string `json:"username"`
}

const reviewKind = "AdmissionReview"

var errTooLarge = errors.New("review is too large")

// decode reads a review of at most limit bytes. What it read before an error
// stays in rv.
func decode(body io.Reader, limit int64, rv *review) error {
	limited := &limitedReader{body, limit, limit}
	err := json.UnmarshalRead(limited, rv)
	rv.bytes = limit - limited.left
	if err != nil {
		return undecodable(err)
	}
	return rv.check()
}

// decodeInto reads a review of a known size into a buffer of just that size.
// What it read before an error stays in rv.
func decodeInto(buffer []byte, body io.Reader, rv *review) error {
	n, cut := io.ReadFull(body, buffer)
	// Strings are copied: the review doesn't refer to the buffer.
	err := json.Unmarshal(buffer[:n], rv)
	rv.bytes = int64(n)
	switch {
	case cut != nil:
		return undecodable(cut)
	case err != nil:
		return undecodable(err)
	}
	return rv.check()
}

// undecodable says which field can't be read, in the words of the API and not of
// the program.
func undecodable(err error) error {
	wrong, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return fmt.Errorf("decode AdmissionReview: %w", err)
	}
	field := cmp.Or(string(wrong.JSONPointer), "/")
	if len(field) > maxPointer {
		field = strings.ToValidUTF8(field[:maxPointer], "") + "…"
	}
	if wrong.Err != nil {
		return fmt.Errorf("decode AdmissionReview: %s: %w", field, wrong.Err)
	}
	return fmt.Errorf("decode AdmissionReview: %s: the field can't hold a JSON %s", field, wrong.JSONKind.String())
}

// maxPointer bounds what is said of the place of a field, in bytes.
const maxPointer = 256

// check refuses what is no review that can be answered.
func (rv *review) check() error {
	if rv.APIVersion != admissionv1.SchemeGroupVersion.String() || rv.Kind != reviewKind {
		return fmt.Errorf("decode AdmissionReview: got apiVersion %q and kind %q, want %q and %q",
			rv.APIVersion, rv.Kind, admissionv1.SchemeGroupVersion, reviewKind)
	}
	if rv.Request.UID == "" {
		return errors.New("decode AdmissionReview: it has no request.uid")
	}
	return rv.Request.check()
}

// check refuses a request that may bring images in without showing them: what
// can't be seen must not pass.
func (r *request) check() error {
	switch r.Operation {
	case admissionv1.Delete, admissionv1.Connect:
		return nil
	case admissionv1.Create, admissionv1.Update:
		if !r.Object.isThere && image.HoldsImages(r.Kind.Group, r.Kind.Kind) {
			return fmt.Errorf("decode AdmissionReview: %s of kind %s has no request.object", r.Operation, r.Kind.Kind)
		}
		return nil
	default:
		return fmt.Errorf("decode AdmissionReview: got request.operation %q, want CREATE, UPDATE, DELETE or CONNECT", r.Operation)
	}
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
