package controlplanetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// auditTimeout bounds the time between an answer and its audit event.
const auditTimeout = time.Minute

// AuditEvent returns the first event of the API server's audit log that match
// accepts, and fails the test if there's none: the API server may write it a
// moment after it has answered.
func (e *Environment) AuditEvent(t testing.TB, match func(*auditv1.Event) bool) *auditv1.Event {
	t.Helper()
	var found *auditv1.Event
	poll := func(context.Context) (bool, error) {
		events, err := readAuditLog(e.auditLog)
		if i := slices.IndexFunc(events, func(event auditv1.Event) bool { return match(&event) }); i >= 0 {
			found = &events[i]
		}
		return found != nil, err
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, auditTimeout, true, poll); err != nil {
		t.Fatalf("no such event in the audit log: %v", err)
	}
	return found
}

// readAuditLog returns the events of the log's complete lines.
func readAuditLog(path string) (events []auditv1.Event, err error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	complete := content[:bytes.LastIndexByte(content, '\n')+1]
	for line := range bytes.Lines(complete) {
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		events = append(events, event)
	}
	return events, nil
}
