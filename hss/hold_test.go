package hss_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

const ms = time.Millisecond

func throttled(after string) step {
	return step{status: 429, header: map[string]string{"Retry-After": after}}
}

func TestWhatOneRequestIsToldToWaitAllWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first step
		want  []time.Duration
	}{
		"throttled":              {throttled("3"), []time.Duration{0, 3100 * ms, 3100 * ms, 3100 * ms, 3100 * ms}},
		"unavailable":            {step{status: 503, header: map[string]string{"Retry-After": "3"}}, []time.Duration{0, 3100 * ms, 3100 * ms, 3100 * ms, 3100 * ms}},
		"not told how long":      {step{status: 503}, []time.Duration{0, 100 * ms, 1000 * ms, 1000 * ms, 1000 * ms}},
		"refused for good":       {step{status: 400, header: map[string]string{"Retry-After": "3"}}, []time.Duration{0, 1000 * ms, 1000 * ms, 1000 * ms}},
		"told to wait no longer": {throttled("0"), []time.Duration{0, 100 * ms, 1000 * ms, 1000 * ms, 1000 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(tt.first, list())
				client := scripted(t, s, nil)
				var callers sync.WaitGroup
				for n := range 4 {
					callers.Go(func() {
						if n > 0 {
							time.Sleep(time.Second)
						}
						if _, err := client.List(t.Context(), hss.ListRequest{}); err != nil && tt.first.status != 400 {
							t.Error(err)
						}
					})
				}
				callers.Wait()
				slices.Sort(s.at)
				if diff := cmp.Diff(tt.want, s.at); diff != "" {
					t.Errorf("times of the requests (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWhoCannotWaitThatLongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(throttled("30"))
		client := scripted(t, s, nil)
		for n, want := range []time.Duration{30 * time.Second, 29 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := client.List(ctx, hss.ListRequest{})
			cancel()
			var got *hss.Error
			if !errors.As(err, &got) || got.StatusCode != 429 || got.RetryAfter != want {
				t.Errorf("request %d: error is %v", n, err)
			}
			time.Sleep(time.Second)
		}
		if s.asked() != 1 {
			t.Errorf("HSS was asked %d times, want once", s.asked())
		}
		time.Sleep(28 * time.Second)
		_, _ = client.List(t.Context(), hss.ListRequest{})
		if s.asked() < 2 {
			t.Error("HSS isn't asked once the time is over")
		}
	})
}

func TestAnAbsurdTimeToWaitIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(throttled("31536000"), list())
		client := scripted(t, s, nil)
		for range 2 {
			if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil {
				t.Error("there is an answer while HSS said to wait")
			}
		}
		time.Sleep(10 * time.Minute)
		if _, err := client.List(t.Context(), hss.ListRequest{}); err != nil || s.asked() != 2 {
			t.Errorf("after ten minutes: %v, and HSS was asked %d times", err, s.asked())
		}
	})
}

func TestHoldingBackEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := scripted(t, newScript(throttled("30"), list()), nil)
		go func() { _, _ = client.List(t.Context(), hss.ListRequest{}) }()
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		errStop := errors.New("the review is over")
		time.AfterFunc(time.Second, func() { cancel(errStop) })
		begun := time.Now()
		if _, err := client.List(ctx, hss.ListRequest{}); !errors.Is(err, errStop) || time.Since(begun) != time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestWhatOneAPIAsksToWaitHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	list := func(ctx context.Context, c *hss.Client) error {
		_, err := c.List(ctx, hss.ListRequest{})
		return err
	}
	details := func(image string) func(context.Context, *hss.Client) error {
		return func(ctx context.Context, c *hss.Client) error {
			r := vulnerable()
			r.ImageID = image
			_, _, err := first(c.Vulnerabilities(ctx, r))
			return err
		}
	}
	registries := func(ctx context.Context, c *hss.Client) error {
		_, _, err := first(c.Registries(ctx, hss.RegistryRequest{}))
		return err
	}
	synchronise := func(ctx context.Context, c *hss.Client) error {
		return c.SyncRegistries(ctx, hss.SyncRequest{All: true})
	}
	for name, tt := range map[string]struct {
		told step
		one  func(context.Context, *hss.Client) error
		next func(context.Context, *hss.Client) error
		sent bool
	}{
		"throttled vulnerabilities, then a list":           {throttled("300"), details("a"), list, true},
		"unavailable vulnerabilities, then a list":         {step{status: 503, header: map[string]string{"Retry-After": "300"}}, details("a"), list, true},
		"a throttled synchronisation, then a list":         {throttled("300"), synchronise, list, true},
		"a throttled list, then its registries":            {throttled("300"), list, registries, true},
		"a throttled list, then another":                   {throttled("300"), list, list, false},
		"throttled vulnerabilities, then another image's":  {throttled("300"), details("a"), details("b"), false},
		"throttled registries, then the same list of them": {throttled("300"), registries, registries, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(tt.told, step{status: 200, body: `{"data_list":[]}`})
				client := scripted(t, s, nil)
				if err := tt.one(t.Context(), client); err == nil {
					t.Fatal("there is an answer while HSS said to wait")
				}
				err := tt.next(t.Context(), client)
				if sent := s.asked() == 2; sent != tt.sent || (err == nil) != tt.sent {
					t.Errorf("sent: %t, error %v", sent, err)
				}
			})
		})
	}
}
