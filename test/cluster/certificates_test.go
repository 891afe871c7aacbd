package cluster_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const caSecret = release + "-serving-ca"

// testCADeleted deletes the Secret of the CA, which comes back: as it was, or from
// a leader that has not read it yet, with a new CA. No review fails either way.
func testCADeleted(t *testing.T, c *cluster) {
	c.enforce(t)
	secrets := c.client.CoreV1().Secrets(namespace)
	before, err := secrets.Get(t.Context(), caSecret, metav1.GetOptions{})
	must(t, err)
	load := c.load(t)
	must(t, secrets.Delete(t.Context(), caSecret, metav1.DeleteOptions{}))
	var after map[string][]byte
	eventually(t, func() error {
		secret, err := secrets.Get(t.Context(), caSecret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if after = secret.Data; len(after) == 0 {
			return errors.New("the Secret of the CA is empty")
		}
		return nil
	})
	t.Logf("the Secret holds the CA of before: %t", cmp.Equal(before.Data, after)) // no diff: it would show the key
	load.finish(t, 0)

	c.failsNone(t, 10*rate) // by certificates of whichever CA
}

// testCABundleDamaged replaces the CA by which the API server trusts hssgate.
func testCABundleDamaged(t *testing.T, c *cluster) {
	c.enforce(t)
	load := c.load(t)
	load.await(t, rate)
	good, damaged := c.caBundle(t), time.Now()
	c.kubectl(t, "patch", "validatingwebhookconfiguration", release, "--type=json", "-p", fmt.Sprintf(
		`[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": %q}]`, base64.StdEncoding.EncodeToString([]byte(c.hss.ca))))
	eventually(t, func() error {
		if !bytes.Contains(c.caBundle(t), bytes.TrimSpace(good)) {
			return errors.New("the caBundle has not been repaired")
		}
		return nil
	})
	t.Logf("the caBundle is repaired after %s", time.Since(damaged).Round(time.Millisecond))
	c.awaitEnforcement(t, damaged, "the caBundle is damaged")
	load.finish(t, math.MaxInt)
	c.failsNone(t, 5*rate)
}

// caBundle returns the CAs by which the API server trusts the webhook of pods.
func (c *cluster) caBundle(t *testing.T) []byte {
	t.Helper()
	configuration, err := c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), release, metav1.GetOptions{})
	must(t, err)
	return configuration.Webhooks[0].ClientConfig.CABundle
}
