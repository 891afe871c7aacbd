package inventory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// spoil makes a row one that can't be read: all that is left names its image.
func spoil(r *hss.Image) {
	*r = hss.Image{
		ID: r.ID, Namespace: r.Namespace, Name: r.Name, Version: r.Version, Digest: r.Digest, Type: r.Type,
		RegistryType: r.RegistryType, Unreadable: `latest_scan_time is "-"`,
	}
}

// efface makes a row one that may be of any image.
func efface(r *hss.Image) { *r = hss.Image{Unreadable: "null in place of a row"} }

const (
	spoiltApp  = `HSS's row for prod/app:1 can't be read: latest_scan_time is "-"`
	effacedApp = "HSS sent a row that can't be read and may be of any image: null in place of a row"
)

func TestARowThatCannotBeReadMakesItsOwnImageUnavailable(t *testing.T) {
	t.Parallel()
	other := func(change func(*hss.Image)) func(*hss.Image) {
		return func(r *hss.Image) {
			r.ID = "2"
			change(r)
			spoil(r)
		}
	}
	for name, tt := range map[string]struct {
		ref  string
		bad  func(*hss.Image)
		want string // empty: the image is found
	}{
		"its own row":              {app, spoil, spoiltApp},
		"its own, beside a good":   {app, other(func(*hss.Image) {}), spoiltApp},
		"with a digest":            {app + "@" + digest("a"), spoil, spoiltApp},
		"another tag's":            {app, other(func(r *hss.Image) { r.Version = "2" }), ""},
		"another name's":           {app, other(func(r *hss.Image) { r.Name = "app-2" }), ""},
		"another namespace's":      {app, other(func(r *hss.Image) { r.Namespace = "dev" }), ""},
		"another registry's":       {app, other(func(r *hss.Image) { r.Type = "harbor" }), ""},
		"one of no name":           {app, efface, effacedApp},
		"another digest's":         {"swr.example.com/prod/app@" + digest("a"), other(func(r *hss.Image) { r.Digest = digest("b") }), ""},
		"a digest's own":           {"swr.example.com/prod/app@" + digest("a"), spoil, spoiltApp},
		"one of no name, a digest": {"swr.example.com/prod/app@" + digest("a"), efface, effacedApp},
		"one of an architecture": {
			"swr.example.com/prod/app@" + digest("c"), func(r *hss.Image) {
				spoil(r)
				r.MultiArch, r.Architectures = true, []hss.AssociatedImage{{Digest: digest("c")}}
			}, spoiltApp,
		},
		"one of architectures that aren't known": {
			"swr.example.com/prod/app@" + digest("a"), func(r *hss.Image) {
				r.Digest = digest("b")
				spoil(r)
				r.MultiArch = true
			}, spoiltApp,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := []hss.Image{row(tt.bad)}
			if tt.want == "" || strings.Contains(name, "beside") {
				rows = append(rows, row())
			}
			f := &fake{rows: rows}
			i, _ := newInventory(t, f)
			got := i.Facts(t.Context(), reference(t, tt.ref))
			if tt.want == "" && got.State != policy.StateFound || tt.want != "" && (got.State != policy.StateUnavailable || got.Reason != tt.want) {
				t.Errorf("got %v: %q, want %q", got.State, got.Reason, tt.want)
			}
			if len(got.Records) > 1 {
				t.Errorf("got %d records", len(got.Records))
			}
			e := i.Explain(reference(t, tt.ref)).Queries[0]
			if e.Failed != tt.want || !strings.HasPrefix(e.Rows[0].Misfit, "it can't be read: ") {
				t.Errorf("explained as %+v", e)
			}
		})
	}
}

func TestRowsThatCannotBeReadOpenNoBreaker(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(30)}
	for n := range 20 {
		spoil(&w.rows[n])
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 30 {
			got, _ := within(t, i, time.Minute, ofImage(n))
			if want := map[bool]policy.State{true: policy.StateUnavailable, false: policy.StateFound}[n < 20]; got.State != want {
				t.Errorf("image %d is %v: %s", n, got.State, got.Reason)
			}
		}
		if state(i) != inventory.BreakerClosed || w.singly() != 30 {
			t.Errorf("the breaker is %s after %d look-ups", state(i), w.singly())
		}
	})
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		w.fail(fmt.Errorf("rows from 0 on: %w", &hss.RowError{Row: 3, Reason: "vul_id is []"}))
		ask(t, i, 10, "b")
		if state(i) != inventory.BreakerClosed {
			t.Errorf("the breaker is %s", state(i))
		}
	})
}

// spoiling is a transport that has HSS send a time that is none for one image.
type spoiling struct{ base http.RoundTripper }

func (s spoiling) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.ReplaceAll(body, []byte("1234567"), []byte(`"-"`))
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response.Header.Del("Content-Length")
	return response, nil
}

func TestTheRealClientAndARowThatCannotBeRead(t *testing.T) {
	t.Parallel()
	bad := served("bad", "1")
	bad.LatestScanTime = time.UnixMilli(1_234_567)
	server := hsstest.NewServer(hsstest.WithImages(bad, served("app", "1"), served("bad-not", "1")), hsstest.WithSubstringMatching(), hsstest.WithTokens("t"))
	t.Cleanup(server.Close)
	c := settings(func(c *config.Configuration) {
		p := &c.Projects[0]
		p.Region, p.Endpoint, p.ProjectID = "", server.URL, "p1"
		p.Credentials = config.Credentials{Source: config.SourceTokenFile, TokenFile: write(t, "token", "t")}
	})
	clients, err := inventory.NewClients(c, "test", func(_ string, base http.RoundTripper) http.RoundTripper { return spoiling{base} })
	if err != nil {
		t.Fatal(err)
	}
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	for range 2 {
		for name, want := range map[string]string{
			"bad:1": `HSS's row for prod/bad:1 can't be read: latest_scan_time is "-"`, "app:1": "", "bad-not:1": "",
		} {
			got, _ := within(t, i, 10*time.Second, "swr.example.com/prod/"+name)
			if got.Reason != want || (got.State == policy.StateFound) != (want == "") {
				t.Errorf("%s is %v: %s", name, got.State, got.Reason)
			}
		}
	}
}

// lastSync is what came of the last synchronisation of a kind.
type lastSync struct {
	notes
	full, changes error
}

func (l *lastSync) Synced(_ string, s inventory.Synchronisation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Full {
		l.full = s.Err
		return
	}
	l.changes = s.Err
}

func (l *lastSync) errs() (full, changes error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full, l.changes
}

func TestAListWithARowThatCannotBeReadSpeaksForTheOthers(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(300)}, &lastSync{}
	w.edit(7, spoil)
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(time.Minute)
		full, changes := seen.errs()
		if changes != nil || full == nil || full.Error() != `1 of the rows can't be read, so that the list says nothing of their images; the last: HSS's row for prod/app-7:1 can't be read: latest_scan_time is "-"` {
			t.Errorf("the list: %v; the changes: %v", full, changes)
		}
		for n := range 300 {
			if _, ok := i.Known(reference(t, ofImage(n))); ok == (n == 7) {
				t.Errorf("image %d is known: %t", n, ok)
			}
		}
		got, _ := within(t, i, time.Minute, ofImage(7))
		if got.State != policy.StateUnavailable || !strings.Contains(got.Reason, "prod/app-7:1 can't be read") {
			t.Errorf("got %v: %s", got.State, got.Reason)
		}
		if state(i) != inventory.BreakerClosed {
			t.Errorf("the breaker is %s", state(i))
		}
		w.edit(7, func(r *hss.Image) { *r = today(8)[7] })
		time.Sleep(time.Minute)
		if got, _ := within(t, i, time.Minute, ofImage(7)); got.State != policy.StateFound {
			t.Errorf("once it can be read it is %v: %s", got.State, got.Reason)
		}
	}, synchronised)
}

func TestAChangeThatCannotBeReadIsNotJudgedByThePast(t *testing.T) {
	t.Parallel()
	w := &world{rows: today(5)}
	watched(t, w, nil, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Minute)
		w.edit(3, func(r *hss.Image) {
			spoil(r)
			r.LatestSyncTime = time.Now()
		})
		time.Sleep(61 * time.Second)
		for n := range 5 {
			got, _ := within(t, i, time.Minute, ofImage(n))
			if want := map[bool]policy.State{true: policy.StateUnavailable, false: policy.StateFound}[n == 3]; got.State != want {
				t.Errorf("image %d is %v: %s", n, got.State, got.Reason)
			}
		}
		if w.singly() != 1 {
			t.Errorf("%d images were asked for singly", w.singly())
		}
	}, synchronised)
}

func TestAListWithARowThatMayBeOfAnyImageConfirmsNothing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(5)}, &lastSync{}
	w.edit(3, efface)
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(time.Minute)
		if full, _ := seen.errs(); full == nil || full.Error() != "the list confirms nothing: "+effacedApp {
			t.Errorf("the list: %v", full)
		}
		for n := range 5 {
			if _, ok := i.Known(reference(t, ofImage(n))); ok {
				t.Errorf("image %d is known", n)
			}
		}
		if got, _ := within(t, i, time.Minute, ofImage(1)); got.State != policy.StateFound {
			t.Errorf("asked for singly it is %v: %s", got.State, got.Reason)
		}
	}, synchronised)
}

func TestChangesWithARowThatMayBeOfAnyImageVouchForNothing(t *testing.T) {
	t.Parallel()
	w, seen := &world{rows: today(5)}, &lastSync{}
	watched(t, w, seen, func(t *testing.T, i *inventory.Inventory) {
		time.Sleep(10 * time.Minute)
		w.edit(3, func(r *hss.Image) {
			efface(r)
			r.LatestSyncTime = time.Now()
		})
		time.Sleep(10 * time.Minute)
		if full, changes := seen.errs(); full != nil || changes == nil || changes.Error() != effacedApp {
			t.Errorf("the list: %v; the changes: %v", full, changes)
		}
		for n := range 5 {
			if got, ok := i.Known(reference(t, ofImage(n))); ok && time.Since(got.AsOf) < 10*time.Minute {
				t.Errorf("image %d is known as of %s", n, got.AsOf)
			}
		}
		w.edit(3, func(r *hss.Image) { *r = today(4)[3] })
		time.Sleep(61 * time.Second)
		if _, changes := seen.errs(); changes != nil {
			t.Errorf("once all can be read: %v", changes)
		}
	}, synchronised)
}

func TestAVulnerabilityThatCannotBeReadKeepsNobodyFromAskingForOthers(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *listingWorld, i *inventory.Inventory) {
		rows := images(20)
		for n := range rows {
			rows[n].ImageID, rows[n].Vulnerabilities = fmt.Sprint("img-", n), new(1)
		}
		w.set(append(rows, vulnerable())...)
		spoilt := &hss.RowError{Row: 2, Reason: "app_name is {}"}
		w.answer(func(w *listingWorld) {
			w.listError = errors.Join(&hss.Error{StatusCode: 200, Message: "no list: " + spoilt.Error()}, spoilt)
		})
		for n := range rows {
			wantUnlisted(t, detailedOf(t, i, ofImage(n), time.Second, true), "data_list[2]: app_name is {}")
		}
		w.answer(func(w *listingWorld) { w.listError = nil })
		wantFound(t, detailed(t, i, time.Second, true), read())
	})
}
