package demo

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/server"
)

// Names of the configuration and of its webhooks.
const (
	configurationName = "hssgate-demo"
	imagesWebhook     = "images.hssgate.io"
	policiesWebhook   = "policies.hssgate.io"
)

// webhookConfiguration has the API server ask the webhook at address. Its
// caBundle is for the webhook to fill in.
func webhookConfiguration(address string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	add, change := admissionregistrationv1.Create, admissionregistrationv1.Update
	rule := func(group string, resources ...string) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{add, change},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
		}
	}
	webhook := func(name, path string, rules ...admissionregistrationv1.RuleWithOperations) admissionregistrationv1.ValidatingWebhook {
		return admissionregistrationv1.ValidatingWebhook{
			Name:                    name,
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://" + address + path)},
			Rules:                   rules,
			FailurePolicy:           new(admissionregistrationv1.Fail),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			TimeoutSeconds:          new(int32(reviewTimeout.Seconds())),
			AdmissionReviewVersions: []string{"v1"},
		}
	}
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: configurationName},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			webhook(imagesWebhook, server.ValidatePath,
				rule("", "pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"),
				rule("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
				rule("batch", "jobs", "cronjobs")),
			webhook(policiesWebhook, server.ValidatePolicyPath, rule(v1alpha1.GroupVersion.Group, "imagescanpolicies")),
		},
	}
}
