package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/hssgate/hssgate/internal/certificate"
)

const (
	// propagation is the time that API servers get to learn of a new CA before a replica serves by it.
	propagation = 10 * time.Second
	// conflictRetry is the pause after a write that another one overtook.
	conflictRetry = time.Second
)

// Serving is the CA that a replica serves by, and what trusts it.
type Serving struct {
	Client client.Client
	// Secret holds the CAs; optional.
	Secret client.ObjectKey
	// Configurations are the webhook configurations that trust the CAs.
	Configurations WebhookConfigurations
	// Issuer makes the serving certificate.
	Issuer *certificate.Issuer
	Clock  clock.PassiveClock
	Log    *slog.Logger
}

// Certificates has a replica serve by a CA in a Secret: the oldest valid one, so that a CA that is added is
// trusted long before it is used. A CA that replaces it at once is used when every webhook has trusted it for
// a while. Without a Secret, the Issuer has a CA of its own, which every replica adds to the caBundle.
type Certificates struct {
	Serving

	// next waits to be used since nextSince.
	next      *certificate.CA
	nextSince time.Time
	trusted   atomic.Bool
}

// Ready returns why the API server can't connect to the replica yet, or nil. Without a webhook configuration a
// certificate is enough.
func (c *Certificates) Ready() error {
	if c.Issuer.CA() == nil {
		return fmt.Errorf("%w: Secret %q holds none", certificate.ErrNoCA, c.Secret)
	}
	if !c.trusted.Load() {
		return fmt.Errorf("the caBundle of ValidatingWebhookConfiguration %q doesn't hold the CA yet", c.Configurations.Validating)
	}
	return nil
}

// SetupWithManager follows the Secret and the webhook configurations on every replica.
func (c *Certificates) SetupWithManager(mgr ctrl.Manager) error {
	err := c.Configurations.follow(mgr, "certificates", c.Secret).
		WithOptions(ctrlcontroller.Options{NeedLeaderElection: new(false)}).
		Complete(c)
	if err != nil {
		return fmt.Errorf("follow the CA: %w", err)
	}
	return nil
}

// Reconcile takes over the CA of the Secret, once it is trusted.
func (c *Certificates) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	secret, configurations, err := c.read(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	var wait time.Duration
	if c.Secret.Name == "" {
		err = writeBundles(ctx, c.Client, configurations, func(bundle []byte) []byte {
			return certificate.MergeBundle(bundle, []*certificate.CA{c.Issuer.CA()}, c.Clock.Now(), true)
		})
	} else {
		wait, err = c.adopt(secret, configurations)
	}
	if err != nil {
		return afterConflict(err)
	}
	if trustedByAll(configurations, c.Issuer.CA()) {
		c.trusted.Store(true)
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// adopt serves by the oldest CA of the Secret if it may, and returns how long to wait otherwise; 0 means until
// something changes.
func (c *Certificates) adopt(secret *corev1.Secret, configurations []client.Object) (time.Duration, error) {
	now, serving := c.Clock.Now(), c.Issuer.CA()
	cas, problem := parseCAs(secret.Data, now)
	if problem != nil {
		c.Log.Warn("CA in the Secret is damaged", "secret", c.Secret.String(), "error", problem)
	}
	if len(cas) == 0 || cas[0].Equal(serving) {
		c.next = nil
		return 0, nil
	}
	oldest := cas[0]
	if serving != nil && serving.ValidAt(now) && trustedByAll(configurations, serving) {
		if !trustedByAll(configurations, oldest) {
			c.next = nil
			return 0, nil
		}
		if !oldest.Equal(c.next) {
			c.next, c.nextSince = oldest, now
		}
		if wait := c.nextSince.Add(propagation).Sub(now); wait > 0 {
			return wait, nil
		}
	}
	if err := c.Issuer.Use(oldest); err != nil {
		return 0, fmt.Errorf("serve by the CA of Secret %q: %w", c.Secret, err)
	}
	c.next = nil
	c.Log.Info("serving by another CA", "ca", oldest, "before", serving)
	return 0, nil
}

// read returns the Secret, an empty one if there is none, and the webhook configurations that exist.
func (s *Serving) read(ctx context.Context) (*corev1.Secret, []client.Object, error) {
	secret := &corev1.Secret{}
	if s.Secret.Name != "" {
		if err := s.Client.Get(ctx, s.Secret, secret); client.IgnoreNotFound(err) != nil {
			return nil, nil, fmt.Errorf("read Secret %q: %w", s.Secret, err)
		}
	}
	configurations, err := s.Configurations.read(ctx, s.Client)
	return secret, configurations, err
}

// parseCAs returns the valid CAs in a Secret, the oldest first, and what is wrong with others.
func parseCAs(data map[string][]byte, now time.Time) ([]*certificate.CA, error) {
	var cas []*certificate.CA
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(data)) {
		base, ok := strings.CutSuffix(name, ".crt")
		if !ok {
			continue
		}
		ca, err := certificate.ParseCA(data[name], data[base+".key"])
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", base, err))
		case !ca.ValidAt(now):
			problems = append(problems, fmt.Errorf("%s: not valid now: %s", base, ca))
		default:
			cas = append(cas, ca)
		}
	}
	slices.SortStableFunc(cas, func(a, b *certificate.CA) int { return a.NotBefore().Compare(b.NotBefore()) })
	return cas, errors.Join(problems...)
}

func afterConflict(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{}, err
}
