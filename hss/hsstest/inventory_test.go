package hsstest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

func parse(t *testing.T, text string) *inventoryfile.File {
	t.Helper()
	inventory, err := inventoryfile.Parse([]byte(text), newClock().now())
	if err != nil {
		t.Fatal(err)
	}
	return inventory
}

func TestAnInventoryConfiguresTheServer(t *testing.T) {
	t.Parallel()
	inventory := parse(t, `# a comment
---
images: [{namespace: prod, image_name: app, image_version: "1.0"}]
projects: [p1]
tokens: [t1]
credentials: [{access_key: AK, secret_key: SK, projects: [p1]}]
faults:
- {kind: status, times: 2, namespace: prod, image_name: flaky}
- {kind: throttle, retry_after: "7"}
`)
	at := newClock()
	h := hsstest.NewHandler(hsstest.WithInventory(inventory), hsstest.WithClock(at.now))
	key := signed(hsstest.Credential{AccessKey: "AK", SecretKey: "SK"}, at.now())
	token := func(r *http.Request) { r.Header.Set("X-Auth-Token", "t1") }
	if got := ask(t, h, "", key); got.Status != 429 || got.Header.Get("Retry-After") != "7" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
	for _, want := range []int{503, 503, 200} {
		if got := ask(t, h, "namespace=prod&image_name=flaky", token); got.Status != want {
			t.Errorf("got %d, want %d", got.Status, want)
		}
	}
	if got := ask(t, h, "", key); got.tags() != "1.0" {
		t.Errorf("got %s", got.Raw)
	}
	other := ask(t, h, "", token, func(r *http.Request) { r.URL.Path = strings.Replace(listPath, "p1", "p2", 1) })
	if other.ErrorCode != "HSS.0010" {
		t.Errorf("got %s", other.Raw)
	}
}

func TestEveryKindOfFaultCanBeInAFile(t *testing.T) {
	t.Parallel()
	for _, kind := range inventoryfile.FaultKinds() {
		h := open(t, hsstest.WithInventory(parse(t, "faults: [{kind: "+kind+", bytes: 10, pause: 1ms, status: 500, times: 3}]")))
		if got := h.PendingFaults(); got != 1 {
			t.Errorf("%s: got %d faults", kind, got)
		}
	}
}
