package controller_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestUsesAreWrittenTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		var fails atomic.Bool
		c := newClient(t, &interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			writes.Add(1)
			if fails.Load() {
				return errors.New("connection refused")
			}
			return c.SubResource(sub).Patch(ctx, o, patch, opts...)
		}}, exception("prod", "a", time.Hour))
		u := &controller.ExceptionUses{Live: c, Client: c, Log: slog.New(slog.DiscardHandler)}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = u.Start(ctx) }()
		use := func(name string, n int) {
			e, err := policy.CompileException(exception("prod", name, time.Hour), longest)
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				u.Excepted(gate.ExceptionUse{Exception: e, Policy: "strict"})
			}
		}
		check := func(when string, wantUses int64, wantWrites int32) {
			synctest.Wait()
			e := get(t, c, "prod", "a", &v1alpha1.ImageScanException{})
			if e.Status.Uses != wantUses || writes.Load() != wantWrites {
				t.Errorf("%s: %d uses in %d writes, want %d in %d", when, e.Status.Uses, writes.Load(), wantUses, wantWrites)
			}
		}
		time.Sleep(time.Second)
		use("a", 1001)
		use("deleted", 1)
		check("within the interval", 0, 0)
		time.Sleep(20 * time.Second)
		check("after it", 1001, 1)
		use("a", 1)
		fails.Store(true)
		time.Sleep(20 * time.Second)
		check("while writes fail", 1001, 2)
		fails.Store(false)
		time.Sleep(20 * time.Second)
		check("once they succeed", 1002, 3)
		use("a", 1)
		stop()
		check("at the end", 1003, 4)
	})
}
