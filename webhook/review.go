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
	// OldObject is there only if the object is updated or deleted.
	OldObject object `json:"oldObject"`
}

// prepare has the objects read by the kind of the request.
func (r *request) prepare() { r.Object.request, r.OldObject.request = r, r }

// mayHoldImages reports whether objects of the kind may name images. An API server
// sends the kind before the objects.
func (r *request) mayHoldImages() bool {
	return image.HoldsImages(r.Kind.Group, r.Kind.Kind) || r.isCustom()
}

// isCustom reports whether the kind is a custom resource's, as far as its group
// tells. It may hold pod templates in any place.
func (r *request) isCustom() bool {
	return strings.Contains(r.Kind.Group, ".") && !image.HoldsImages(r.Kind.Group, r.Kind.Kind)
}

// object is the object that is asked about.
type object struct {
	image.Manifest

	// request is the one that it belongs to, and custom what is read of it if that
	// is about a custom resource.
	request *request
	custom  image.Custom
	// isThere is false if it is null or not sent at all.
	isThere bool
}

// UnmarshalJSONFrom reads the object and notes that it is there.
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	o.isThere = dec.PeekKind() != 'n'
	if o.request != nil && o.request.isCustom() {
		err := json.UnmarshalDecode(dec, &o.custom)
		o.Metadata = o.custom.Metadata
		return err
	}
	return json.UnmarshalDecode(dec, &o.Manifest)
}

// workloads returns the object's pod, or its pod templates.
func (o *object) workloads(r *request) []image.Workload {
	if r.isCustom() {
		return o.custom.Workloads(r.Kind.Kind)
	}
	w, ok := o.Workload(r.Kind.Group, r.Kind.Kind)
	if !ok {
		return nil
	}
	return []image.Workload{w}
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
	rv.Request.prepare()
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
	rv.Request.prepare()
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
		if !r.Object.isThere && r.mayHoldImages() {
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
