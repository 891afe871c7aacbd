package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const allowedDigest = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

// printed returns what allow would create, without a cluster.
func printed(t *testing.T, args ...string) (e v1alpha1.ImageScanException, notes string) {
	t.Helper()
	stdout, notes, err := run(t, append([]string{
		"allow", "-n", "shop", "--for", "2h", "--reason", "INC-7: the shop is down", "--dry-run", "client", "-o", "yaml", "--policy", "production",
	}, args...)...)
	must(t, err)
	if err := yaml.UnmarshalStrict([]byte(stdout), &e); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	return e, notes
}

func TestAllowSelectsNoMoreThanItMust(t *testing.T) {
	for name, tt := range map[string]struct {
		images []string
		want   string
		note   string
	}{
		"a tag stands for its repository":            {[]string{"swr.example.com/prod/app:1.4"}, "swr.example.com/prod/app", "every tag of swr.example.com/prod/app is admitted"},
		"no tag does, too":                           {[]string{"swr.example.com/prod/app"}, "swr.example.com/prod/app", "every tag of"},
		"a short name is Docker Hub's":               {[]string{"nginx"}, "docker.io/library/nginx", "every tag of docker.io/library/nginx"},
		"a digest goes before the tag":               {[]string{"swr.example.com/prod/app:1.4@" + allowedDigest}, allowedDigest, "only pods that name " + allowedDigest},
		"a host in capitals, with the default port":  {[]string{"SWR.example.com:443/prod/app:1"}, "swr.example.com/prod/app", ""},
		"a port and an IPv6 address":                 {[]string{"[::1]:5000/prod/a__b-c.d:1"}, "[::1]:5000/prod/a__b-c.d", ""},
		"two tags of one repository are one pattern": {[]string{"a.example.com/x:1", "a.example.com/x:2", "b.example.com/y"}, "a.example.com/x b.example.com/y", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now().Add(2 * time.Hour).Truncate(time.Second)
			e, notes := printed(t, tt.images...)
			if got := strings.Join(e.Spec.Images, " "); got != tt.want || !strings.Contains(notes, tt.note) {
				t.Errorf("images %q, want %q; notes:\n%s", got, tt.want, notes)
			}
			if end := e.Spec.ExpiresAt.Time; end.Before(before) || end.After(time.Now().Add(2*time.Hour)) {
				t.Errorf("it ends at %s, want two hours from now", end)
			}
			if !regexp.MustCompile(`^[a-z0-9-]+-[a-z0-9]{5}$`).MatchString(e.Name) || e.Namespace != "shop" || e.Spec.Policies[0] != "production" || e.Spec.Reason != "INC-7: the shop is down" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestAllowRefusesWhatCannotBeMeant(t *testing.T) {
	good := []string{"nginx", "-n", "shop", "--for", "2h", "--reason", "INC-7", "--dry-run", "client", "--policy", "p"}
	calls{
		"nothing at all":               {nil, exitUsage, "missing: IMAGE, --for DURATION, --reason TEXT"},
		"no image":                     {good[1:], exitUsage, "missing: IMAGE"},
		"a blank reason":               {append(good, "--reason", " "), exitUsage, "missing: --reason TEXT"},
		"a wildcard":                   {append(good, "swr.example.com/*"), exitUsage, `"swr.example.com/*": invalid image reference`},
		"an image ID":                  {append(good, allowedDigest), exitUsage, "names an image on the node by its ID"},
		"days":                         {append(good, "--for", "2d"), exitUsage, `unknown unit "d"`},
		"a time that is past":          {append(good, "--for", "-2h"), exitUsage, "missing: --for DURATION"},
		"two ranges of namespaces":     {append(good, "-A"), exitUsage, "--all-namespaces and --namespace exclude each other"},
		"an unknown output":            {append(good, "-o", "wide"), exitUsage, `--output must be name, yaml or json, not "wide"`},
		"an unknown dry run":           {append(good, "--dry-run", "yes"), exitUsage, `--dry-run must be none, server or client, not "yes"`},
		"more policies than are named": {append(good, "--policies", "p"), exitUsage, "unknown flag: --policies"},
	}.check(t, "allow")
}

func TestAllowPrintsAsKubectlDoes(t *testing.T) {
	stdout, notes, err := run(t, "allow", "nginx", "-A", "--for", "2h", "--reason", "INC-7", "--dry-run", "client", "--policy", "p", "-o", "yaml")
	must(t, err)
	var e v1alpha1.ClusterImageScanException
	must(t, yaml.UnmarshalStrict([]byte(stdout), &e))
	if e.Kind != "ClusterImageScanException" || e.Namespace != "" || e.Spec.Reason != "INC-7" || !strings.Contains(notes, ", in all namespaces, for policy p: docker.io/library/nginx") {
		t.Errorf("printed %s and %s", stdout, notes)
	}
	for output, want := range map[string]string{"": ` created \(dry run\)`, "name": "", "json": "-"} {
		stdout, _, err := run(t, "allow", "nginx", "-n", "shop", "--for", "2h", "--reason", "INC-7", "--dry-run", "client", "--policy", "p", "-o", output)
		must(t, err)
		pattern := "^imagescanexception.hssgate.io/nginx-[a-z0-9]{5}" + want + "\n$"
		if want == "-" {
			pattern = `^\{\n    "kind"|^\{\n    "apiVersion"`
		}
		if !regexp.MustCompile(pattern).MatchString(stdout) {
			t.Errorf("-o %s printed %q", output, stdout)
		}
	}
}
