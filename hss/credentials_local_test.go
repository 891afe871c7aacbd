package hss_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// env is a Getenv of fixed variables.
func env(variables map[string]string) hss.Getenv {
	return func(name string) string { return variables[name] }
}

// shown makes credentials comparable, their secrets in the clear.
func shown(c hss.Credentials) map[string]string {
	return map[string]string{
		"ak": c.AccessKey, "sk": c.SecretKey.Reveal(), "sts": c.SecurityToken.Reveal(), "token": c.Token.Reveal(),
		"project": c.ProjectID, "expires": c.Expires.UTC().Format(time.RFC3339),
	}
}

// expect checks what a source supplies. want is the credentials or part of the
// error's text.
func expect(t *testing.T, source hss.CredentialSource, want any) {
	t.Helper()
	got, err := source.Credentials(t.Context())
	switch want := want.(type) {
	case hss.Credentials:
		if err != nil {
			t.Fatalf("error is %v", err)
		}
		if diff := cmp.Diff(shown(want), shown(got)); diff != "" {
			t.Errorf("credentials (-want +got):\n%s", diff)
		}
	case string:
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// key makes credentials of an access key.
func key(ak, sk, sts, project string) hss.Credentials {
	return hss.Credentials{AccessKey: ak, SecretKey: hss.NewSecret(sk), SecurityToken: hss.NewSecret(sts), ProjectID: project}
}

// write writes a file of a test and returns its path.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironmentCredentials(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		env  map[string]string
		want any
	}{
		{"key and secret", map[string]string{"HUAWEICLOUD_SDK_AK": " AK\n", "HUAWEICLOUD_SDK_SK": "SK"}, key("AK", "SK", "", "")},
		{"everything", map[string]string{"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "STS", "HUAWEICLOUD_SDK_PROJECT_ID": "p"},
			key("AK", "SK", "STS", "p")},
		{"no secret", map[string]string{"HUAWEICLOUD_SDK_AK": "AK"}, "HUAWEICLOUD_SDK_AK is set, but HUAWEICLOUD_SDK_SK is not"},
		{"no key", map[string]string{"HUAWEICLOUD_SDK_SK": "hunter2"}, "HUAWEICLOUD_SDK_SK is set, but HUAWEICLOUD_SDK_AK is not"},
		{"nothing", nil, "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not configured"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, hss.EnvironmentCredentials(env(tc.env)), tc.want)
		})
	}
}

func TestTheProcessEnvironmentIsTheDefault(t *testing.T) {
	t.Setenv("HUAWEICLOUD_SDK_AK", "AK")
	t.Setenv("HUAWEICLOUD_SDK_SK", "SK")
	expect(t, hss.EnvironmentCredentials(nil), key("AK", "SK", "", ""))
	expect(t, hss.DefaultCredentials(), key("AK", "SK", "", ""))
}

func TestTokensFromTheEnvironment(t *testing.T) {
	t.Parallel()
	variables := env(map[string]string{"T": " hunter2 ", "LONG": strings.Repeat("x", 32769)})
	expect(t, hss.TokenEnvironment("T", variables), hss.Credentials{Token: hss.NewSecret("hunter2")})
	expect(t, hss.TokenEnvironment("LONG", variables), "token has 32769 characters, at most 32768 are allowed")
	expect(t, hss.TokenEnvironment("OTHER", variables), "environment variable OTHER is not configured")
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ak, sk := write(t, filepath.Join(dir, "ak"), "AK1\n"), write(t, filepath.Join(dir, "sk"), "SK1")
	sts := write(t, filepath.Join(dir, "sts"), "STS1")
	source := hss.FileCredentials(ak, sk, sts)
	expect(t, source, key("AK1", "SK1", "STS1", ""))
	expect(t, hss.FileCredentials(ak, sk, ""), key("AK1", "SK1", "", ""))

	write(t, sk, "SK-two")
	expect(t, source, key("AK1", "SK-two", "STS1", ""))

	// As a kubelet replaces a mounted Secret: another file under the name.
	replacement := write(t, filepath.Join(dir, "new"), "AK3\n")
	if err := os.Rename(replacement, ak); err != nil {
		t.Fatal(err)
	}
	expect(t, source, key("AK3", "SK-two", "STS1", ""))
}

func TestFilesThatSeemUnchangedAreReadAgainAfterARefusal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour)
	ak, sk := write(t, filepath.Join(dir, "ak"), "AK"), write(t, filepath.Join(dir, "sk"), "SK1")
	for name, source := range map[string]hss.CredentialSource{
		"files": hss.FileCredentials(ak, sk, ""), "a chain": hss.ChainCredentials(hss.FileCredentials(ak, sk, "")),
	} {
		write(t, sk, "SK1")
		if err := os.Chtimes(sk, at, at); err != nil {
			t.Fatal(err)
		}
		expect(t, source, key("AK", "SK1", "", ""))
		write(t, sk, "SK2")
		if err := os.Chtimes(sk, at, at); err != nil {
			t.Fatal(err)
		}
		expect(t, source, key("AK", "SK1", "", ""))
		source.(interface{ Invalidate() }).Invalidate()
		t.Log(name)
		expect(t, source, key("AK", "SK2", "", ""))
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, empty := write(t, filepath.Join(dir, "good"), "hunter2"), write(t, filepath.Join(dir, "empty"), " \n")
	large := write(t, filepath.Join(dir, "large"), strings.Repeat("hunter2", 200_000))
	for _, tc := range []struct {
		name   string
		source hss.CredentialSource
		want   string
	}{
		{"a missing file", hss.FileCredentials(good, filepath.Join(dir, "none"), ""), "none: no such file"},
		{"an empty file", hss.FileCredentials(good, empty, ""), "empty is empty"},
		{"no path", hss.FileCredentials("", good, ""), "no path is given"},
		{"a folder", hss.FileCredentials(dir, good, ""), "is a directory"},
		{"a large file", hss.FileCredentials(good, large, ""), "large is larger than 1048576 bytes"},
		{"a missing token", hss.TokenFile(filepath.Join(dir, "none")), "token file: stat"},
		{"a token too long", hss.TokenFile(write(t, filepath.Join(dir, "long"), strings.Repeat("x", 32769))), "token has 32769"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.source, tc.want)
		})
	}
}

func TestTokenFilesAreReadAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "token"), "one\n")
	source := hss.TokenFile(path)
	expect(t, source, hss.Credentials{Token: hss.NewSecret("one")})
	write(t, path, "the second")
	expect(t, source, hss.Credentials{Token: hss.NewSecret("the second")})
	source.(interface{ Invalidate() }).Invalidate()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Credentials(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, profile string
		want          any
	}{
		{"the section of projects", "[global]\nak = G\nsk = G\n\n[basic]\nak = AK\nsk = SK\n", key("AK", "SK", "", "")},
		{"everything", "\ufeff# keys\r\n[basic] ; mine\r\nak: AK\r\nsk=SK # not this\r\nsecurity_token = STS\r\nproject_id = p\r\nother = x\r\n", key("AK", "SK", "STS", "p")},
		{"quotes keep what would be a comment", "[basic]\nak='AK'\nsk=\"S K # ; x\" # c\nsecurity_token=`a\"b`", key("AK", "S K # ; x", "a\"b", "")},
		{"a sign within a word begins no comment", "[basic]\nak=A#K\nsk=S;K==", key("A#K", "S;K==", "", "")},
		{"a section that comes twice, the later value", "[basic]\nak=1\n[x]\nak=0\n[ basic ]\nak=2\nsk=SK", key("2", "SK", "", "")},
		{"nonsense in other sections", "[x]\nnonsense\n[basic]\nak=AK\nsk=SK", key("AK", "SK", "", "")},
		{"no section", "ak=AK\nsk=hunter2", "there is no section [basic]"},
		{"no secret key", "[basic]\nak=AK\nsk=\n", "section [basic] has no sk"},
		{"a comment for a secret key", "[basic]\nak=AK\nsk= # hunter2\n", "section [basic] has no sk"},
		{"no access key", "[basic]\nsk=hunter2\n", "section [basic] has no ak"},
		{"a line that is nothing", "[basic]\nak=AK\nhunter2\n", "line 3: neither a comment, a section nor key = value"},
		{"a line without a key", "[basic]\n=hunter2\n", "line 2: neither"},
		{"a quote that is not closed", "[basic]\nsk=\"hunter2\n", "line 2: the value of sk has no closing quote"},
		{"a section that is not closed", "[basic\nsk=hunter2\n", "line 1: a section's name must end with ]"},
		{"an empty file", "", "there is no section [basic]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, filepath.Join(t.TempDir(), "credentials"), tc.profile)
			expect(t, hss.ProfileCredentials(path, nil), tc.want)
			expect(t, hss.ProfileCredentials("", env(map[string]string{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": path})), tc.want)
		})
	}
}

func TestTheDefaultProfileMayBeMissing(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	source := hss.ProfileCredentials("", env(nil))
	if _, err := source.Credentials(t.Context()); !errors.Is(err, hss.ErrNotConfigured) || !strings.Contains(err.Error(), home) {
		t.Errorf("error is %v", err)
	}
	named := hss.ProfileCredentials(filepath.Join(home, "none"), nil)
	if _, err := named.Credentials(t.Context()); err == nil || errors.Is(err, hss.ErrNotConfigured) {
		t.Errorf("a profile that was named and is missing: error is %v", err)
	}
	if err := os.Mkdir(filepath.Join(home, ".huaweicloud"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(home, ".huaweicloud", "credentials"), "[basic]\nak=AK\nsk=SK")
	expect(t, source, key("AK", "SK", "", ""))
	write(t, path, "[basic]\nak=AK\nsk=SK-2")
	expect(t, source, key("AK", "SK-2", "", ""))
	source.(interface{ Invalidate() }).Invalidate()
	expect(t, source, key("AK", "SK-2", "", ""))

	t.Setenv("HOME", "")
	expect(t, hss.ProfileCredentials("", env(nil)), "no file is named and there is no home folder")
}

func TestStaticCredentialsAreChecked(t *testing.T) {
	t.Parallel()
	expect(t, hss.StaticCredentials(key("AK", "SK", "", "")), key("AK", "SK", "", ""))
	expect(t, hss.StaticCredentials(key("AK", "", "", "")), "an access key and a secret key, or a token")
	expect(t, hss.StaticCredentials(key("AK", "SK", "hunter2\n", "")), "security token contains a control character")
}

func TestChainUsesTheFirstThatIsConfigured(t *testing.T) {
	t.Parallel()
	none := hss.EnvironmentCredentials(env(nil))
	broken := hss.EnvironmentCredentials(env(map[string]string{"HUAWEICLOUD_SDK_AK": "AK"}))
	first, second := hss.StaticCredentials(key("A1", "S", "", "")), hss.StaticCredentials(key("A2", "S", "", ""))
	for _, tc := range []struct {
		name  string
		chain hss.CredentialSource
		want  any
	}{
		{"the first", hss.ChainCredentials(first, second), key("A1", "S", "", "")},
		{"the next, if the first has nothing", hss.ChainCredentials(none, second), key("A2", "S", "", "")},
		{"none, if the first is broken", hss.ChainCredentials(broken, second), "environment: HUAWEICLOUD_SDK_AK is set, but HUAWEICLOUD_SDK_SK is not"},
		{"what was looked for before it broke", hss.ChainCredentials(hss.TokenEnvironment("T", env(nil)), broken),
			"HUAWEICLOUD_SDK_SK is not (before that: token: environment variable T is not configured)"},
		{"all that was looked for", hss.ChainCredentials(none, hss.TokenEnvironment("T", env(nil))),
			"no credentials found: looked in the environment (HUAWEICLOUD_SDK_AK), T (environment: HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not configured; token: environment variable T is not configured)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.chain, tc.want)
		})
	}
	expect(t, hss.ChainCredentials(), "no credentials found")
	if _, err := hss.ChainCredentials(none).Credentials(t.Context()); !errors.Is(err, hss.ErrNotConfigured) {
		t.Errorf("error is %v", err)
	}
}
