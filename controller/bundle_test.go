package controller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
)

func newBundle(t *testing.T, s *site) (*controller.Bundle, *certificate.Root) {
	t.Helper()
	root, err := certificate.NewRoot(start, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &controller.Bundle{Client: s.Client, ConfigurationName: configurationName, Authority: root.PEM(), Clock: s.clock}, root
}

func TestEveryReplicaAddsItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	first, a := newBundle(t, s)
	second, b := newBundle(t, s)
	for _, bundle := range []*controller.Bundle{first, second, first, second} {
		if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.bundle(t); got != pems(a, b) {
		t.Errorf("trusted:\n%s", got)
	}
}

func TestAReplicaWithItsOwnAuthorityIsReady(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	tests := map[string]struct {
		objects []client.Object
		err     error
		ready   bool
	}{
		"once it is trusted":            {[]client.Object{webhooks()}, nil, true},
		"if nobody asks":                {nil, nil, true},
		"not if it can't make it known": {[]client.Object{webhooks()}, lost, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.objects...)
			bundle, _ := newBundle(t, s)
			if bundle.Ready() == nil {
				t.Error("it is ready before it has looked")
			}
			if tt.err != nil {
				s.fails.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return tt.err
				}
			}
			if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); !errors.Is(err, tt.err) {
				t.Errorf("got error %v, want %v", err, tt.err)
			}
			if err := bundle.Ready(); (err == nil) != tt.ready {
				t.Errorf("ready: %v", err)
			}
		})
	}
}

func TestWhatIsAsItShouldBeIsNotWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, webhooks())
	bundle, _ := newBundle(t, s)
	if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	s.fails.Patch = func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return errors.New("it was written")
	}
	if _, err := bundle.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Error(err)
	}
}
