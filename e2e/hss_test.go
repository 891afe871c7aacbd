package e2e_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// fixture is the gate that most tests share. It soon asks HSS again, so that
// tests see HSS change its mind.
type fixture struct {
	*gate
	// hss are the servers by the names of their projects. "main" is in good
	// health; each of the others is one test's to ruin.
	hss map[string]*hsstest.Server
}

// unvalidated is the label of policies that the policy webhook isn't asked
// about, as if they had come before it.
const unvalidated = "unvalidated"

func newMainGate(t *testing.T, c *cluster) *fixture {
	t.Helper()
	f := &fixture{hss: map[string]*hsstest.Server{}}
	for _, name := range append([]string{"main", "rescan", "known", "slow", "details"}, troubled()...) {
		f.hss[name] = newHSS(t)
	}
	f.gate = newGate(t, c, setup{
		name: "main", projects: f.hss, cache: "freshFor: 1s\nnotFoundFor: 1s\npendingFor: 1s\nerrorFor: 1s",
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			address := strings.TrimSuffix(strings.TrimPrefix(*configuration.Webhooks[0].ClientConfig.URL, "https://"), "/validate")
			configuration.Webhooks = append(configuration.Webhooks,
				newResourceWebhook(address, "policies.hssgate.io", "/validate-policy", "imagescanpolicies"),
				newResourceWebhook(address, "exceptions.hssgate.io", "/validate-exception", "imagescanexceptions"))
		},
	})
	return f
}

// newResourceWebhook has the gate asked about policies or exceptions, unless they
// are labelled to get past it.
func newResourceWebhook(address, name, path, resource string) admissionregistrationv1.ValidatingWebhook {
	webhook := (&gate{webhook: address}).newWebhook(name, path, admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{"hssgate.io"}, APIVersions: []string{"*"}, Resources: []string{resource}},
	})
	webhook.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: unvalidated, Operator: metav1.LabelSelectorOpDoesNotExist},
	}}
	return webhook
}

// newHSS starts a server that knows the gate's credentials.
func newHSS(t *testing.T, options ...hsstest.Option) *hsstest.Server {
	t.Helper()
	key := hsstest.Credential{AccessKey: accessKey, SecretKey: secretKey}
	server := hsstest.NewServer(append([]hsstest.Option{hsstest.WithCredentials(key)}, options...)...)
	t.Cleanup(server.Close)
	return server
}

// lookUps counts the requests for images: the leader also checks whether HSS
// answers.
func lookUps(server *hsstest.Server) int {
	return server.Stats().Count(func(q url.Values) bool { return q.Get("image_name") != "" })
}

// add adds a row to what a server knows.
func add(server *hsstest.Server, rows ...hsstest.Image) {
	server.Update(func(images []hsstest.Image) []hsstest.Image { return append(images, rows...) })
}

// change changes every row of one image name.
func change(server *hsstest.Server, name string, f func(*hsstest.Image)) {
	server.Update(func(images []hsstest.Image) []hsstest.Image {
		for i := range images {
			if images[i].ImageName == name {
				f(&images[i])
			}
		}
		return images
	})
}

// row is a clean image prod/NAME:1, scanned an hour ago, changed as told.
func row(name string, changes ...func(*hsstest.Image)) hsstest.Image {
	now := time.Now()
	i := hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageDigest: digest("a"),
		ImageType: "private_image", RegistryType: "SwrPrivate", Scannable: true,
		ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(2), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-2 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Minute),
	}
	for _, f := range changes {
		f(&i)
	}
	return i
}

// digest is that of the given hexadecimal digit.
func digest(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

func high(i *hsstest.Image) {
	i.SeverityLevel, i.VulNum = "High", hsstest.Count(111)
}

// highLine is what the policy of the design says of such an image in the
// container "app".
func highLine(s *space, image string) string {
	return `container "app": ` + highFinding(s, image)
}

func highFinding(s *space, image string) string {
	return image + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy " + s.name + "-p]"
}

// What a denial advises.
const (
	adviseRebuild       = "rebuild the image with fixed packages, push it, and have HSS scan it"
	noteSeverity        = "HSS's severity levels are not those of CVSS: its High may start at CVSS 9"
	adviseScan          = "have HSS scan the image, or wait until its scan is done, and try again"
	adviseName          = "check the image's name; if it is new, have HSS synchronise its registry, and scan it"
	adviseRetry         = "try again shortly; if it stays so, see hssgate's log for what HSS answers"
	adviseConfiguration = "an administrator of hssgate has to correct its configuration; see the condition HSSReachable of the policies and hssgate's log"
)
