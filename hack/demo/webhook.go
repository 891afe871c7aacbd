package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/webhook"
)

// newWebhook returns a function that sends a sample to hssgate's webhook as an API server does.
func (s *sampleSet) newWebhook(known *inventory.Inventory) sender {
	handler := server.NewHandler(s.config, webhook.Options{
		Decider: &gate.Gate{
			Policies: s.checker.Policies, Exceptions: s.checker.Exceptions, NamespaceLabels: s.namespaceLabels, Facts: known, Clock: clock.RealClock{},
			ExemptNamespaces: s.config.ExemptNamespaces,
		},
		Log: slog.New(slog.DiscardHandler),
	})
	return func(ctx context.Context, s *sample) (answer, error) {
		body, err := json.Marshal(newReview(s))
		if err != nil {
			return answer{}, err
		}
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, server.ValidatePath+"?timeout=30s", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		var got admissionv1.AdmissionReview
		if err := json.Unmarshal(response.Body.Bytes(), &got); err != nil || got.Response == nil {
			return answer{}, fmt.Errorf("no answer to the review (HTTP status %d): %w", response.Code, err)
		}
		if !got.Response.Allowed {
			return answer{report.Denied, got.Response.Result.Message, got.Response.Warnings}, nil
		}
		return newAnswer(got.Response.Warnings), nil
	}
}

func newReview(s *sample) *admissionv1.AdmissionReview {
	kind := s.object.GroupVersionKind()
	resource, _ := meta.UnsafeGuessKindToResource(kind) // right for all kinds that have images
	request := &admissionv1.AdmissionRequest{
		UID: types.UID(s.title()), Kind: metav1.GroupVersionKind(kind), Resource: metav1.GroupVersionResource(resource),
		Name: s.object.GetName(), Namespace: s.object.GetNamespace(), Operation: admissionv1.Create, Object: runtime.RawExtension{Object: s.object},
	}
	if s.old != nil {
		request.Operation, request.OldObject = admissionv1.Update, runtime.RawExtension{Object: s.old}
	}
	if s.debugs() {
		request.SubResource = "ephemeralcontainers"
	}
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}, Request: request,
	}
}
