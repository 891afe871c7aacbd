package server

import (
	"testing"

	"github.com/hssgate/hssgate/config"
)

func TestWhetherAWebhookPinsIsKnownByWhoseAuthorityItHas(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		webhook config.Webhook
		lacks   bool
	}{
		"one webhook is ours, and none pins":           {config.Webhook{ConfigurationName: "hssgate"}, true},
		"both are":                                     {config.Webhook{ConfigurationName: "hssgate", MutatingConfigurationName: "hssgate"}, false},
		"cert-manager fills in what it may have found": {config.Webhook{CertDir: "/certificates"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &Server{Config: &config.Configuration{Webhook: tt.webhook}}
			if got := g.lacksPinning(); got != tt.lacks {
				t.Errorf("got %t, want %t", got, tt.lacks)
			}
		})
	}
}
