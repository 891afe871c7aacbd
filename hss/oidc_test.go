package hss_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// cluster is what IAM knows of a cluster.
func cluster() hsstest.IdentityProvider {
	return hsstest.IdentityProvider{ID: "my-cluster", Issuer: "https://kubernetes.default.svc.cluster.local", Audience: "hssgate",
		Subject: "system:serviceaccount:hssgate-system:hssgate"}
}

// federated returns a client whose credentials are those of a service account, their source, and the file with its token.
func federated(t *testing.T, server *hsstest.Server, provider, token string) (client *hss.Client, source hss.CredentialSource, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "token")
	writeToken(t, file, token)
	config := hss.Config{Endpoint: server.URL, Region: "cn-north-4", IAMEndpoint: server.URL, Keys: hss.NewKeyGuard()}
	config.Credentials = hss.OIDCCredentials(provider, file, config)
	client, err := hss.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, config.Credentials, file
}

func writeToken(t *testing.T, file, token string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAServiceAccountsTokenIsExchangedForTemporaryKeys(t *testing.T) {
	t.Parallel()
	now := time.Now()
	other := func(change func(*hsstest.IdentityProvider)) string {
		p := cluster()
		change(&p)
		return p.Token(now.Add(time.Hour))
	}
	for name, tc := range map[string]struct {
		provider, token string
		fault           *hsstest.Fault
		want            string // in the error
		exchanges       int    // of three calls
	}{
		"a token that IAM trusts": {"my-cluster", cluster().Token(now.Add(time.Hour)), nil, "", 1},
		"an unknown identity provider": {"none", cluster().Token(now.Add(time.Hour)), nil, "IAM refused the service account's token (issuer " +
			"https://kubernetes.default.svc.cluster.local, subject system:serviceaccount:hssgate-system:hssgate, audience hssgate, valid until ", 1},
		"a token that expired":    {"my-cluster", cluster().Token(now.Add(-time.Hour)), nil, "IAM answered 401 IAM.0001: ", 1},
		"a token of another use":  {"my-cluster", other(func(p *hsstest.IdentityProvider) { p.Audience = "vault" }), nil, "audience vault", 1},
		"another service account": {"my-cluster", other(func(p *hsstest.IdentityProvider) { p.Subject = "system:serviceaccount:a:b" }), nil, "IAM answered 403 IAM.0003: ", 1},
		"a file without a token":  {"my-cluster", "hunter2-no-token", nil, `(no JSON Web Token) for identity provider "my-cluster"`, 1},
		"an IAM that repeats the token": {"my-cluster", cluster().Token(now.Add(time.Hour)), new(hsstest.ErrorFault(http.StatusUnauthorized, "IAM.0001",
			"bad "+cluster().Token(now.Add(time.Hour))).ForEndpoint(hsstest.EndpointToken)), "bad [redacted]", 1},
		"keys that IAM refuses": {"my-cluster", cluster().Token(now.Add(time.Hour)),
			new(hsstest.StatusFault(http.StatusForbidden).ForEndpoint(hsstest.EndpointKeys)), "IAM answered 403 APIGW.0403", 1},
		"an answer without keys": {"my-cluster", cluster().Token(now.Add(time.Hour)),
			new(hsstest.BodyFault(http.StatusCreated, "application/json", "{}").ForEndpoint(hsstest.EndpointKeys).Times(0)), "the answer lacks the access key", 3},
		"an answer without a token": {"my-cluster", cluster().Token(now.Add(time.Hour)),
			new(hsstest.BodyFault(http.StatusCreated, "application/json", "{}").ForEndpoint(hsstest.EndpointToken).Times(0)), "without a token in X-Subject-Token", 3},
		"an IAM that is down for a moment": {"my-cluster", cluster().Token(now.Add(time.Hour)),
			new(hsstest.StatusFault(http.StatusServiceUnavailable).ForEndpoint(hsstest.EndpointToken)), "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := hsstest.NewServer(hsstest.WithIdentityProviders(cluster()))
			defer server.Close()
			if tc.fault != nil {
				server.Inject(*tc.fault)
			}
			client, source, file := federated(t, server, tc.provider, tc.token)
			for range 3 { // no storm of requests follows a refusal
				_, err := client.List(t.Context(), hss.ListRequest{})
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %v, want %q", err, tc.want)
				}
				if refused, ok := errors.AsType[*hss.RefusedError](err); ok != (tc.want != "" && tc.exchanges == 1) || ok && refused.ServiceAccount == "" {
					t.Errorf("a refusal: %t", ok)
				}
				if err != nil && (strings.Contains(err.Error(), "no-signature") || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("the error shows the token: %v", err)
				}
			}
			if n := server.Stats().Endpoints[hsstest.EndpointToken].Requests; n != tc.exchanges {
				t.Errorf("%d exchanges, want %d", n, tc.exchanges)
			}
			if tc.want == "" {
				keys, err := source(t.Context())
				if in := time.Until(keys.Expires); err != nil || in < 5*time.Hour || in > 6*time.Hour {
					t.Errorf("the keys expire in %s, error %v", in, err)
				}
			}
			if tc.want == "" || tc.exchanges > 1 || tc.provider == "none" {
				return
			}
			writeToken(t, file, cluster().Token(now.Add(2*time.Hour))) // as the kubelet does
			if _, err := client.List(t.Context(), hss.ListRequest{}); err != nil {
				t.Errorf("with another token: %v", err)
			}
		})
	}
}
