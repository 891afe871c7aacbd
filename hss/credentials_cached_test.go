package hss_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// issuer hands out keys that are valid for a while, and takes a second for it.
type issuer struct {
	mu          sync.Mutex
	asked       int
	valid       time.Duration
	err         error
	invalidated int
}

func (i *issuer) Credentials(ctx context.Context) (hss.Credentials, error) {
	i.mu.Lock()
	i.asked++
	number, err, valid := i.asked, i.err, i.valid
	i.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return hss.Credentials{}, ctx.Err()
	}
	if err != nil {
		return hss.Credentials{}, err
	}
	c := hss.Credentials{AccessKey: fmt.Sprint("AK", number), SecretKey: hss.NewSecret("SK")}
	if valid != 0 {
		c.Expires = time.Now().Add(valid)
	}
	return c, nil
}

func (i *issuer) Invalidate() { i.invalidated++ }

func (i *issuer) set(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

// get returns the access key that a source supplies.
func get(t *testing.T, source hss.CredentialSource) string {
	t.Helper()
	c, err := source.Credentials(t.Context())
	if err != nil {
		t.Fatalf("error is %v", err)
	}
	return c.AccessKey
}

// wantKey checks the key, and how long it took to get.
func wantKey(t *testing.T, source hss.CredentialSource, key string, takes time.Duration) {
	t.Helper()
	begun := time.Now()
	if got := get(t, source); got != key {
		t.Errorf("key is %s, want %s", got, key)
	}
	if took := time.Since(begun); took != takes {
		t.Errorf("took %s, want %s", took, takes)
	}
	synctest.Wait()
}

func TestTemporaryKeysAreAskedForOnceHoweverManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: 6 * time.Hour}
		cached := hss.CachedCredentials(source, hss.CacheOptions{})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got := get(t, cached); got != "AK1" {
					t.Errorf("key is %s", got)
				}
			})
		}
		wg.Wait()
		if source.asked != 1 {
			t.Errorf("asked %d times", source.asked)
		}
	})
}

func TestAWaiterThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cached := hss.CachedCredentials(&issuer{valid: time.Hour}, hss.CacheOptions{})
		errGone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second/2, func() { cancel(errGone) })
		var first error
		var wg sync.WaitGroup
		wg.Go(func() { _, first = cached.Credentials(ctx) })
		synctest.Wait()
		wantKey(t, cached, "AK1", time.Second)
		wg.Wait()
		if !errors.Is(first, errGone) {
			t.Errorf("the one who gave up got %v", first)
		}
	})
}

func TestKeysAreRenewedAheadOfExpiryInTheBackground(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		valid   time.Duration
		options hss.CacheOptions
		renews  time.Duration // after this long
	}{
		"40 minutes ahead":                       {6 * time.Hour, hss.CacheOptions{}, 6*time.Hour - 40*time.Minute},
		"a third ahead, if they live short":      {time.Hour, hss.CacheOptions{}, 40 * time.Minute},
		"as much ahead as the operator would it": {6 * time.Hour, hss.CacheOptions{RenewAhead: time.Minute}, 6*time.Hour - time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cached := hss.CachedCredentials(&issuer{valid: tc.valid}, tc.options)
				wantKey(t, cached, "AK1", time.Second)
				time.Sleep(tc.renews - time.Millisecond)
				wantKey(t, cached, "AK1", 0)
				time.Sleep(2 * time.Second)
				wantKey(t, cached, "AK1", 0) // begins to renew, and does not wait
				time.Sleep(2 * time.Second)
				wantKey(t, cached, "AK2", 0)
			})
		})
	}
}

func TestOldKeysAreUsedWhileRenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: time.Hour}
		cached := hss.CachedCredentials(source, hss.CacheOptions{})
		wantKey(t, cached, "AK1", time.Second)
		errDown := errors.New("metadata service is down")
		source.set(errDown)
		for range 59 {
			time.Sleep(time.Minute)
			wantKey(t, cached, "AK1", 0)
		}
		if source.asked < 15 || source.asked > 25 {
			t.Errorf("asked %d times in the last 20 minutes, want about once a minute", source.asked)
		}
		time.Sleep(time.Minute)
		if _, err := cached.Credentials(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("with expired keys: error is %v", err)
		}
		source.set(nil)
		wantKey(t, cached, fmt.Sprint("AK", source.asked+1), time.Second)
	})
}

func TestRenewalsThatFailAreNotHurried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: time.Hour}
		cached := hss.CachedCredentials(source, hss.CacheOptions{})
		wantKey(t, cached, "AK1", time.Second)
		source.set(errors.New("down"))
		time.Sleep(45 * time.Minute)
		for range 60 {
			wantKey(t, cached, "AK1", 0)
			time.Sleep(time.Second)
		}
		if source.asked != 3 {
			t.Errorf("asked %d times, want 3: once, and every 30 s in a minute", source.asked)
		}
	})
}

func TestRefusedKeysAreRenewedButNotTooOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: 6 * time.Hour}
		cached := hss.CachedCredentials(source, hss.CacheOptions{})
		invalidate := func() { cached.(interface{ Invalidate() }).Invalidate() }
		wantKey(t, cached, "AK1", time.Second)
		invalidate()
		wantKey(t, cached, "AK1", 0)
		time.Sleep(time.Minute)
		wantKey(t, cached, "AK1", 0)
		time.Sleep(2 * time.Second)
		wantKey(t, cached, "AK2", 0)
		if source.asked != 2 || source.invalidated != 1 {
			t.Errorf("asked %d times, invalidated %d times, want 2 and 1", source.asked, source.invalidated)
		}
	})
}

func TestARenewalThatHangsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := sourceFunc(func(ctx context.Context) (hss.Credentials, error) {
			<-ctx.Done()
			return hss.Credentials{}, ctx.Err()
		})
		begun := time.Now()
		_, err := hss.CachedCredentials(hanging, hss.CacheOptions{Timeout: 7 * time.Second}).Credentials(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 7*time.Second {
			t.Errorf("error is %v after %s", err, time.Since(begun))
		}
	})
}

func TestKeysThatDoNotExpireAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cached := hss.CachedCredentials(&issuer{}, hss.CacheOptions{Now: time.Now})
		wantKey(t, cached, "AK1", time.Second)
		wantKey(t, cached, "AK2", time.Second)
	})
}
