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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/internal/image"
)

// review is the part of an AdmissionReview that a decision needs. The API server
// sends the UID before the objects, so it is known even if they are cut off.
type review struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Request    request `json:"request"`

	// bytes is the length of the review.
	bytes int64
}

type request struct {
	UID       types.UID               `json:"uid"`
	Kind      metav1.GroupVersionKind `json:"kind"`
	Name      string                  `json:"name"`
	Namespace string                  `json:"namespace"`
	Operation admissionv1.Operation   `json:"operation"`
	UserInfo  struct {
		Username string `json:"username"`
	} `json:"userInfo"`
	DryRun bool   `json:"dryRun"`
	Object object `json:"object"`
	// OldObject is there only if the object is updated or deleted.
	OldObject object `json:"oldObject"`

	keepObjects bool
}

// prepare makes the objects read by the kind of the request, or kept as they are.
func (r *request) prepare(keepObjects bool) {
	r.keepObjects = keepObjects
	r.Object.request, r.OldObject.request = r, r
}

// mayHoldImages reports whether objects of the kind may name images.
func (r *request) mayHoldImages() bool {
	return image.HoldsImages(r.Kind.Group, r.Kind.Kind) || r.isCustom()
}

// mayAddImages reports whether the request may add images to the cluster, as far
// as it was read.
func (r *request) mayAddImages() bool {
	if r.Operation == admissionv1.Delete || r.Operation == admissionv1.Connect {
		return false
	}
	return r.Kind.Kind == "" || r.mayHoldImages()
}

// isCustom reports whether the kind is that of a custom resource, by its group. It
// may hold pod templates in any place.
func (r *request) isCustom() bool {
	return strings.Contains(r.Kind.Group, ".") && !image.HoldsImages(r.Kind.Group, r.Kind.Kind)
}

type object struct {
	image.Manifest

	// request is the request of the object, and custom what is read of a custom
	// resource.
	request *request
	custom  image.Custom
	// raw is the whole object, if it is kept.
	raw jsontext.Value
	// isThere is false for an object that is null or missing.
	isThere bool
}

// UnmarshalJSONFrom reads the object.
func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	o.isThere = dec.PeekKind() != 'n'
	if o.request != nil && o.request.keepObjects {
		value, err := dec.ReadValue()
		o.raw = value.Clone()
		return err
	}
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

const reviewKind = "AdmissionReview"

// decode reads a review. What it read before an error stays in rv.
func decode(body io.Reader, rv *review) error {
	if err := json.UnmarshalRead(body, rv); err != nil {
		return undecodable(err)
	}
	return rv.check()
}

// undecodable names the field that can't be read, in the words of the API and not
// of the program.
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

// maxPointer bounds the path of a field in an error, in bytes.
const maxPointer = 256

// check returns why the review can't be answered, or nil.
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

// check refuses a request that may add images without showing them.
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
