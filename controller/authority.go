package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/certificate"
)

// Annotations of the Secret that keeps the authorities.
const (
	// AnnotationRotate, set to "true", asks for another authority now. It is
	// taken away as soon as there is one.
	AnnotationRotate = "hssgate.io/rotate"
	// AnnotationPromotedAt is when the authority in use was put into use.
	AnnotationPromotedAt = "hssgate.io/promoted-at"
)

const (
	// strangerGrace is how long an authority that the Secret doesn't know stays
	// in a caBundle: replicas of before may still serve by it.
	strangerGrace = time.Hour
	// restoreDelay keeps what is being uninstalled from coming back.
	restoreDelay = 10 * time.Second
	// fieldOwner owns the fields of a Secret that hssgate creates.
	fieldOwner = client.FieldOwner("hssgate")
	// conflictRetry is the pause before a write that another one overtook.
	conflictRetry = time.Second
)

// Authority makes and renews the authority that all replicas serve by, and
// repairs the Secret that keeps it. One replica runs it; Certificates is what
// every replica does.
type Authority struct {
	Client client.Client
	// Secret keeps the authorities.
	Secret client.ObjectKey
	// ConfigurationName is that of the ValidatingWebhookConfiguration.
	ConfigurationName string
	// MutatingConfigurationName is that of the MutatingWebhookConfiguration;
	// empty: there is none.
	MutatingConfigurationName string
	Rotation                  certificate.Rotation
	Clock                     clock.PassiveClock
	Log                       *slog.Logger

	trust certificate.Trust
	// last is what was last good; missing is since when the Secret is gone.
	last    *certificate.Roots
	missing time.Time
}

// SetupWithManager follows the Secret and the webhook configuration on the
// elected replica.
func (a *Authority) SetupWithManager(mgr ctrl.Manager) error {
	if err := followCertificates(mgr, "authority", a.Secret, a.ConfigurationName, a.MutatingConfigurationName).Complete(a); err != nil {
		return fmt.Errorf("keep the certificates' authority: %w", err)
	}
	return nil
}

// Reconcile takes the step of the rotation that is due.
func (a *Authority) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	secret, err := readSecret(ctx, a.Client, a.Secret)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := a.Clock.Now()
	if wait := a.mayReturn(now, secret); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	configurations, err := readConfigurations(ctx, a.Client, a.ConfigurationName, a.MutatingConfigurationName)
	if err != nil {
		return ctrl.Result{}, err
	}
	a.trust.Observe(now, bundles(configurations)...)
	roots, wait, err := a.step(ctx, now, secret)
	if err != nil {
		return afterConflict(err)
	}
	drop, next := a.strangers(now, roots)
	err = writeBundles(ctx, a.Client, configurations, func(bundle []byte) []byte {
		return certificate.MergeBundle(bundle, roots.PEMs(), now, drop)
	})
	if err != nil {
		return afterConflict(err)
	}
	return ctrl.Result{RequeueAfter: sooner(wait, next)}, nil
}

func afterConflict(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{}, err
}

// sooner returns the shorter time; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// mayReturn returns how long to wait before a Secret that was there and is gone
// is put back.
func (a *Authority) mayReturn(now time.Time, secret *corev1.Secret) time.Duration {
	if secret.ResourceVersion != "" || a.last == nil {
		a.missing = time.Time{}
		return 0
	}
	if a.missing.IsZero() {
		a.missing = now
	}
	wait := a.missing.Add(restoreDelay).Sub(now)
	if wait <= 0 {
		a.Log.Warn("the Secret of the authority is gone, and is put back", "secret", a.Secret.String())
	}
	return wait
}

// step writes what is due into the Secret. It returns what the Secret holds then,
// and how long that is good for.
func (a *Authority) step(ctx context.Context, now time.Time, secret *corev1.Secret) (*certificate.Roots, time.Duration, error) {
	found, problem := certificate.ParseRoots(secret.Data)
	if problem != nil {
		a.Log.Warn("the Secret of the authority is damaged, and is repaired", "secret", a.Secret.String(), "error", problem)
	}
	before := a.restore(found, problem)
	state := a.state(now, before, secret.Annotations)
	roots, step, wait, err := a.Rotation.Next(now, state)
	if err != nil {
		return nil, 0, fmt.Errorf("renew the certificates' authority: %w", err)
	}
	unnoted := len(roots.Previous) > 0 && secret.Annotations[AnnotationPromotedAt] != note(state.PromotedAt)
	if step != certificate.StepNone || roots != found || problem != nil || unnoted {
		if step == certificate.StepCreate || step == certificate.StepPromote {
			state.PromotedAt = now
		}
		if err := a.write(ctx, secret, roots, state.PromotedAt); err != nil {
			return nil, 0, err
		}
		a.Log.Info("the Secret of the authority was written", "step", step, "secret", a.Secret.String(), "current", roots.Current, "next", roots.Next)
	}
	a.last = roots
	return roots, wait, nil
}

// state reads what a step depends on. If nobody has noted when the authority was
// put into use, it was now: those before stay trusted for longer.
func (a *Authority) state(now time.Time, roots *certificate.Roots, annotations map[string]string) certificate.State {
	s := certificate.State{Roots: roots, PromotedAt: now}
	s.TrustedSince, _ = a.trust.Since(roots.Next)
	// Anything but true asks for nothing.
	s.Requested, _ = strconv.ParseBool(annotations[AnnotationRotate])
	if noted, err := time.Parse(time.RFC3339, annotations[AnnotationPromotedAt]); err == nil {
		s.PromotedAt = noted
	}
	return s
}

// restore returns what this replica has last known, if the Secret has lost it:
// other replicas serve by it.
func (a *Authority) restore(found *certificate.Roots, problem error) *certificate.Roots {
	if a.last == nil || problem == nil && found.Current != nil {
		return found
	}
	if found.Current != nil && !found.Current.Equal(a.last.Current) {
		return found
	}
	return a.last
}

func (a *Authority) write(ctx context.Context, secret *corev1.Secret, roots *certificate.Roots, promotedAt time.Time) error {
	updated := secret.DeepCopy()
	updated.Name, updated.Namespace = a.Secret.Name, a.Secret.Namespace
	if err := fill(updated, roots); err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, AnnotationPromotedAt, note(promotedAt))
	delete(updated.Annotations, AnnotationRotate)
	write := func() error { return a.Client.Update(ctx, updated) }
	if secret.ResourceVersion == "" {
		// Only server-side apply can create under a right that is limited to the name.
		created := applycorev1.Secret(a.Secret.Name, a.Secret.Namespace).
			WithType(corev1.SecretTypeOpaque).WithAnnotations(updated.Annotations).WithData(updated.Data)
		write = func() error { return a.Client.Apply(ctx, created, fieldOwner) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("write the authority into Secret %q: %w", a.Secret, err)
	}
	return nil
}

func note(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// fill puts the roots into a Secret, and leaves what else it holds.
func fill(secret *corev1.Secret, roots *certificate.Roots) error {
	data, err := roots.Data()
	if err != nil {
		return fmt.Errorf("write the authority: %w", err)
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for name, value := range data {
		secret.Data[name] = value
		if len(value) == 0 {
			delete(secret.Data, name)
		}
	}
	return nil
}

// strangers returns which authorities have no place in a caBundle any more, and
// when to ask again; 0 is never.
func (a *Authority) strangers(now time.Time, roots *certificate.Roots) (drop func(string) bool, next time.Duration) {
	since := a.trust.Strangers(now, roots.PEMs())
	for _, start := range since {
		if wait := start.Add(strangerGrace).Sub(now); wait > 0 {
			next = sooner(next, wait)
		}
	}
	return func(fingerprint string) bool {
		start, known := since[fingerprint]
		return known && !now.Before(start.Add(strangerGrace))
	}, next
}
