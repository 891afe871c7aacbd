package cluster_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const user = "system:serviceaccount:" + namespace + ":" + release

// testRights reads in the API server's audit log what hssgate requested in all
// the scenarios before.
func testRights(t *testing.T, c *cluster) {
	log, err := os.Open(c.auditLog())
	must(t, err)
	defer log.Close()
	_, err = log.Seek(c.auditStart, io.SeekStart)
	must(t, err)
	requests := 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ResponseStatus   struct{ Code int }
		}
		must(t, json.Unmarshal(lines.Bytes(), &event))
		if event.User.Username != user {
			continue
		}
		requests++
		if code := event.ResponseStatus.Code; code == http.StatusForbidden || code == http.StatusUnauthorized {
			t.Errorf("answered %d: %s %s", code, event.Verb, event.RequestURI)
		}
	}
	must(t, lines.Err())
	if requests < 50 {
		t.Errorf("the audit log has %d requests of %s, want 50 at least", requests, user)
	}
	t.Logf("%d requests of %s", requests, user)
}

func (c *cluster) auditLog() string { return filepath.Join(c.data, "log", "audit.log") }
