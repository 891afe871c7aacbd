package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Status writes into the status of policies and exceptions whether they are active as written. The leader runs it.
type Status struct {
	Client client.Client
	Events events.EventRecorder
	Clock  clock.PassiveClock
	Log    *slog.Logger
	// Rules reports changes, and limits exceptions.
	Rules *Rules
	// HSS reports whether HSS answers; optional.
	HSS *HSS
	// AuditInterval is how often running pods are audited; 0: never, and then no image can have a grace.
	AuditInterval time.Duration
	// RegistryHosts are those that a registry of the configuration claims.
	RegistryHosts []string
	// ExemptNamespaces are those in which nothing is evaluated.
	ExemptNamespaces []string
}

const (
	// statusPoll is how often Status checks whether rules have changed.
	statusPoll = time.Second
	// statusInterval is the longest time from one look at all rules to the next.
	statusInterval = 30 * time.Second
)

// Start writes status whenever rules change, and every statusInterval, until ctx ends, which is no error.
func (s *Status) Start(ctx context.Context) error {
	var seen [2]uint64
	var due time.Time
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		changes := [2]uint64{s.Rules.PolicyChanges(), s.Rules.ExceptionChanges()}
		if s.Rules.Ready() != nil || changes == seen && s.Clock.Now().Before(due) {
			return
		}
		seen, due = changes, s.Clock.Now().Add(statusInterval)
		if err := s.Write(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("not every status is written: it is written later", "error", err)
		}
	}, statusPoll)
	return nil
}

// Write writes the status of each policy and exception if it differs.
func (s *Status) Write(ctx context.Context) error {
	var policies v1alpha1.ImageScanPolicyList
	var exceptions v1alpha1.ImageScanExceptionList
	if err := errors.Join(s.Client.List(ctx, &policies), s.Client.List(ctx, &exceptions)); err != nil {
		return fmt.Errorf("read policies and exceptions: %w", err)
	}
	var failures []error
	compiled := map[string]*policy.Policy{}
	for i := range policies.Items {
		p := &policies.Items[i]
		before := p.DeepCopy()
		compiled[p.Name] = s.setPolicy(p)
		_, err := s.write(ctx, before, p)
		failures = append(failures, err)
	}
	for i := range exceptions.Items {
		e := &exceptions.Items[i]
		before := e.DeepCopy()
		s.setException(e, compiled)
		written, err := s.write(ctx, before, e)
		failures = append(failures, err)
		if written {
			s.warnOfEnd(before, e)
		}
	}
	return errors.Join(failures...)
}

// write writes the status of an object if it differs from that before, and reports whether it did.
func (s *Status) write(ctx context.Context, before, o client.Object) (written bool, err error) {
	patch := client.MergeFrom(before)
	if data, err := patch.Data(o); err != nil || string(data) == "{}" {
		return false, err
	}
	if err := s.Client.Status().Patch(ctx, o, patch); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return true, nil
}

// maxConditionMessage is the schema's limit of a condition's message.
const maxConditionMessage = 32768

func newCondition(kind string, status bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message[:min(len(message), maxConditionMessage)]}
	if status {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// conditions are those of an object's generation.
type conditions struct {
	all        *[]metav1.Condition
	generation int64
}

func (s conditions) set(c metav1.Condition) {
	c.ObservedGeneration = s.generation
	meta.SetStatusCondition(s.all, c)
}

// setEffective sets the condition Effective to False with a reason, or removes it without one.
func (s conditions) setEffective(reason, message string) {
	if reason == "" {
		meta.RemoveStatusCondition(s.all, v1alpha1.ConditionEffective)
		return
	}
	s.set(newCondition(v1alpha1.ConditionEffective, false, reason, message))
}
