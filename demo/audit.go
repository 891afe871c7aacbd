package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// auditPolicy records what is written, once, with annotations and without
// bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch]
`

// auditTimeout bounds the time between an answer and its audit event.
const auditTimeout = time.Minute

// auditLog reads an API server's audit log as it grows.
type auditLog struct {
	path string
	read int64
}

// auditEvent is the part of an audit event that matters here.
type auditEvent struct {
	ObjectRef struct {
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
}

// annotations returns the webhook's annotations of the next request about a
// sample. The API server may write them a moment after it has answered.
func (l *auditLog) annotations(ctx context.Context, s *sample) (map[string]string, error) {
	var found map[string]string
	poll := func(context.Context) (done bool, err error) {
		found, err = l.next(s)
		return found != nil, err
	}
	if err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, auditTimeout, true, poll); err != nil {
		return nil, fmt.Errorf("find the request in the audit log: %w", err)
	}
	return found, nil
}

// next reads on until an event is about the sample; nil if none is there yet.
func (l *auditLog) next(s *sample) (map[string]string, error) {
	data, err := l.unread()
	if err != nil {
		return nil, err
	}
	for {
		line, rest, complete := bytes.Cut(data, []byte("\n"))
		if !complete {
			return nil, nil
		}
		l.read += int64(len(line)) + 1
		data = rest
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		ref := event.ObjectRef
		if ref.Resource == resource(s.object.GroupVersionKind()).Resource && ref.Namespace == s.object.GetNamespace() && ref.Name == s.object.GetName() {
			return ofWebhook(event.Annotations), nil
		}
	}
}

func (l *auditLog) unread() ([]byte, error) {
	file, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, l.read, 1<<30))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return data, nil
}

// ofWebhook returns the annotations of hssgate, by its own names for them.
func ofWebhook(annotations map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range annotations {
		if name, found := strings.CutPrefix(key, imagesWebhook+"/"); found {
			own[name] = value
		}
	}
	return own
}
