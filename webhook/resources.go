package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
	kjson "sigs.k8s.io/json"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Limits of the reviews of policies and exceptions. One of them is decoded at a
// time, since that takes up to twenty times its size; others wait.
const (
	maxResourceBytes        = 4 << 20
	maxResourceBytesArrived = 8 << 20
	maxResourceBytesWaiting = 32 << 20
	leastResourceBytes      = 128 << 10
)

// ResourceOptions are the settings of Resources.
type ResourceOptions struct {
	// PinningMissing reports whether no webhook is installed that pins images.
	PinningMissing bool
	// MaxExceptionLifetime is the longest time from the creation of an exception
	// to its end.
	MaxExceptionLifetime time.Duration
	Clock                clock.PassiveClock
	Log                  *slog.Logger
}

// Resources validates policies and exceptions as far as their schema can't. It
// answers the reviews of a validating webhook.
type Resources struct {
	ResourceOptions
	frame *frame
	slot  chan struct{}
}

// NewResources returns a handler for policies and exceptions alike.
func NewResources(o ResourceOptions) *Resources {
	return &Resources{ResourceOptions: o, slot: make(chan struct{}, 1), frame: &frame{
		maxBytes: maxResourceBytes, arrivalTimeout: arrivalTimeout, bodies: newBodies(maxResourceBytesArrived, patience),
		evaluating: semaphore.NewWeighted(maxResourceBytesWaiting), leastBytes: leastResourceBytes, keepObjects: true,
		log: o.Log, failures: newLimitedLog(o.Log, 1, 20),
	}}
}

// ServeHTTP answers one review.
func (v *Resources) ServeHTTP(w http.ResponseWriter, r *http.Request) { v.frame.serve(w, r, v) }

func (v *Resources) review(ctx context.Context, rv *review) (*response, error) {
	req := &rv.Request
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return allowed(), nil
	}
	end, err := v.frame.begin(rv)
	if err != nil {
		return nil, err
	}
	defer end()
	select {
	case v.slot <- struct{}{}:
		defer func() { <-v.slot }()
	case <-ctx.Done():
		return nil, errBusy
	}
	var warnings []string
	var problems field.ErrorList
	switch req.Kind.Kind {
	case "ImageScanPolicy":
		warnings, problems, err = v.validatePolicy(req)
	case "ImageScanException", v1alpha1.ClusterImageScanExceptionKind:
		problems, err = v.validateException(req)
	default:
		err = fmt.Errorf("kind %s is not one of ImageScanPolicy, ImageScanException, ClusterImageScanException", req.Kind.Kind)
	}
	if err != nil {
		return nil, err
	}
	a := allowed(warnings...)
	if len(problems) > 0 {
		invalid := apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind(req.Kind.Kind).GroupKind(), req.Name, problems)
		a.Allowed, a.Result = false, &invalid.ErrStatus
	}
	return a, nil
}

func (v *Resources) failure(rv *review, err error) *response {
	v.frame.logFailure("review could not be evaluated", &rv.Request, err)
	return denied(statusOf(err), oneLine("hssgate could not validate this object: "+err.Error()))
}

// validatePolicy allows an update that leaves the spec alone: an old policy that
// is invalid now can still be labelled or deleted.
func (v *Resources) validatePolicy(req *request) (warnings []string, problems field.ErrorList, err error) {
	old, p, err := decodeObjects[v1alpha1.ImageScanPolicy](req)
	if err != nil || p.DeletionTimestamp != nil || old != nil && apiequality.Semantic.DeepEqual(old.Spec, p.Spec) {
		return nil, nil, err
	}
	switch {
	case !p.Spec.Pin:
	case p.Spec.Enforcement == v1alpha1.EnforcementAudit:
		warnings = []string{"spec.pin: no image is pinned while spec.enforcement is Audit"}
	case v.PinningMissing:
		warnings = []string{"spec.pin: no image is pinned until the webhook that pins is installed: pin.enabled of the chart"}
	}
	_, problems = policy.Compile(p)
	return warnings, problems, nil
}

// validateException allows an update that leaves the spec alone, too, and one
// that ends the exception.
func (v *Resources) validateException(req *request) (field.ErrorList, error) {
	old, e, err := decodeObjects[v1alpha1.ImageScanException](req)
	if err != nil || e.DeletionTimestamp != nil || old != nil && apiequality.Semantic.DeepEqual(old.Spec, e.Spec) {
		return nil, err
	}
	e.Kind = req.Kind.Kind
	return policy.ValidateException(e, old == nil, v.Clock.Now(), v.MaxExceptionLifetime), nil
}

// decodeObjects returns the object, and the old one of an update, or else nil.
func decodeObjects[T any](req *request) (old, object *T, err error) {
	decode := func(raw []byte) (*T, error) {
		o := new(T)
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, o); err != nil {
			return nil, fmt.Errorf("decode AdmissionReview: %s of kind %s: %w", req.Operation, req.Kind.Kind, err)
		}
		return o, nil
	}
	if req.Operation == admissionv1.Update {
		if old, err = decode(req.OldObject.raw); err != nil {
			return nil, nil, err
		}
	}
	object, err = decode(req.Object.raw)
	return old, object, err
}
