package controlplanetest

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// auditTimeout bounds the time between an answer and its audit event.
const auditTimeout = time.Minute

// AuditEvent returns the first event of the API server's audit log that match
// accepts, and fails the test if there's none: the API server may write it a
// moment after it has answered.
func (e *Environment) AuditEvent(t testing.TB, match func(*auditv1.Event) bool) *auditv1.Event {
	t.Helper()
	for end := time.Now().Add(auditTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		log, err := os.Open(e.auditLog)
		if err != nil {
			continue // it is made with the first event
		}
		events := json.NewDecoder(log)
		for event := new(auditv1.Event); events.Decode(event) == nil; event = new(auditv1.Event) {
			if match(event) {
				_ = log.Close()
				return event
			}
		}
		_ = log.Close() // it ends, perhaps within an event
	}
	t.Fatal("no such event in the audit log")
	return nil
}
