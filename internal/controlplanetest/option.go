package controlplanetest

import (
	"fmt"
	"os"
	"path/filepath"
)

// Option changes how Start starts the API server.
type Option func(*settings) error

// settings are what the options have set.
type settings struct {
	flags    map[string][]string
	crds     []string
	auditLog string
	dir      string
	// controllers says that they are to run too.
	controllers bool
}

// binaries are the names of what Start starts, and of what it offers.
func (s *settings) binaries() []string {
	names := []string{"etcd", "kube-apiserver", "kubectl"}
	if s.controllers {
		names = append(names, "kube-controller-manager", "kube-scheduler")
	}
	return names
}

// WithFlag sets a flag of kube-apiserver, named without its dashes, in place of
// envtest's default for it.
func WithFlag(name string, values ...string) Option {
	return func(s *settings) error {
		s.flags[name] = values
		return nil
	}
}

// WithoutCRDs starts without hssgate's CustomResourceDefinitions.
func WithoutCRDs() Option {
	return func(s *settings) error {
		s.crds = nil
		return nil
	}
}

// auditPolicy records every request once, with annotations and without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// WithAuditLog makes the API server write an audit log, which
// Environment.AuditEvent reads.
func WithAuditLog() Option {
	return func(s *settings) error {
		policy := filepath.Join(s.dir, "audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return fmt.Errorf("write the audit policy: %w", err)
		}
		s.auditLog = filepath.Join(s.dir, "audit.log")
		s.flags["audit-policy-file"] = []string{policy}
		s.flags["audit-log-path"] = []string{s.auditLog}
		s.flags["audit-log-mode"] = []string{"blocking"}
		return nil
	}
}
