package hss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// setenv sets the variables of all sources, those that are not named to nothing.
func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{
		"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_PROJECT_ID",
		"HUAWEICLOUD_SDK_CREDENTIALS_FILE", envPodIdentityURI, envPodIdentityTokenFile,
	} {
		t.Setenv(name, variables[name])
	}
}

// shown makes credentials comparable, their secrets in the clear.
func shown(c Credentials) map[string]string {
	return map[string]string{
		"ak": c.AccessKey, "sk": c.SecretKey.Reveal(), "sts": c.SecurityToken.Reveal(), "token": c.Token.Reveal(),
		"project": c.ProjectID, "expires": c.Expires.UTC().Format(time.RFC3339),
	}
}

// expect checks what a source supplies. want is the credentials or part of the
// error's text.
func expect(t *testing.T, source CredentialSource, want any) {
	t.Helper()
	got, err := source(t.Context())
	switch want := want.(type) {
	case Credentials:
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
func key(ak, sk, sts, project string) Credentials {
	return Credentials{AccessKey: ak, SecretKey: NewSecret(sk), SecurityToken: NewSecret(sts), ProjectID: project}
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes a file of a test and returns its path.
func write(t *testing.T, path, content string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestEnvironmentCredentials(t *testing.T) {
	const ak, sk = "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"
	for _, tc := range []struct {
		variables map[string]string
		want      any
	}{
		{map[string]string{ak: " AK\n", sk: "SK"}, key("AK", "SK", "", "")},
		{map[string]string{ak: "AK", sk: "SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN": "STS", "HUAWEICLOUD_SDK_PROJECT_ID": "p"}, key("AK", "SK", "STS", "p")},
		{map[string]string{ak: "AK"}, "HUAWEICLOUD_SDK_AK is set, but HUAWEICLOUD_SDK_SK is not"},
		{map[string]string{sk: "hunter2"}, "HUAWEICLOUD_SDK_SK is set, but HUAWEICLOUD_SDK_AK is not"},
		{nil, "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not configured"},
	} {
		setenv(t, tc.variables)
		expect(t, EnvironmentCredentials(), tc.want)
	}
	setenv(t, map[string]string{ak: "AK", sk: "SK"})
	expect(t, DefaultCredentials(), key("AK", "SK", "", ""))
}

func TestFilesAreReadForEveryRequest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ak, sk := write(t, filepath.Join(dir, "ak"), "AK1\n"), write(t, filepath.Join(dir, "sk"), "SK1")
	sts := write(t, filepath.Join(dir, "sts"), "STS1")
	source, token := FileCredentials(ak, sk, sts), TokenFile(sts)
	expect(t, source, key("AK1", "SK1", "STS1", ""))
	expect(t, token, Credentials{Token: NewSecret("STS1")})
	expect(t, FileCredentials(ak, sk, ""), key("AK1", "SK1", "", ""))
	write(t, sk, "SK-two")
	write(t, sts, "the second")
	expect(t, source, key("AK1", "SK-two", "the second", ""))
	expect(t, token, Credentials{Token: NewSecret("the second")})

	// As a kubelet replaces a mounted Secret: another file under the name.
	must(t, os.Rename(write(t, filepath.Join(dir, "new"), "AK3\n"), ak))
	expect(t, source, key("AK3", "SK-two", "the second", ""))
}

func TestFilesThatCannotBeUsedAreErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, empty := write(t, filepath.Join(dir, "good"), "hunter2"), write(t, filepath.Join(dir, "empty"), " \n")
	large := write(t, filepath.Join(dir, "large"), strings.Repeat("hunter2", 200_000))
	for want, source := range map[string]CredentialSource{
		"none: no such file":                 FileCredentials(good, filepath.Join(dir, "none"), ""),
		"empty is empty":                     FileCredentials(good, empty, ""),
		"is a directory":                     FileCredentials(dir, good, ""),
		"large is larger than 1048576 bytes": FileCredentials(good, large, ""),
		"token file: stat":                   TokenFile(filepath.Join(dir, "none")),
	} {
		expect(t, source, want)
	}
}

func TestProfiles(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "credentials"), "")
	setenv(t, map[string]string{"HUAWEICLOUD_SDK_CREDENTIALS_FILE": path})
	for profile, want := range map[string]any{
		"[global]\nak = G\nsk = G\n\n[basic]\nak = AK\nsk = SK\n":                                                                 key("AK", "SK", "", ""),
		"\ufeff# keys\r\n[basic] ; mine\r\nak: AK\r\nsk=SK # not this\r\nsecurity_token = STS\r\nproject_id = p\r\nother = x\r\n": key("AK", "SK", "STS", "p"),
		"[basic]\nak='AK'\nsk=\"S K # ; x\" # c\nsecurity_token=`a\"b`":                                                           key("AK", "S K # ; x", "a\"b", ""),
		"[basic]\nak=A#K\nsk=S;K==":                        key("A#K", "S;K==", "", ""),
		"[basic]\nak=1\n[x]\nak=0\n[ basic ]\nak=2\nsk=SK": key("2", "SK", "", ""),
		"[x]\nnonsense\n[basic]\nak=AK\nsk=SK":             key("AK", "SK", "", ""),
		"ak=AK\nsk=hunter2":                                "section [basic] has no ak",
		"[basic]\nak=AK\nsk= # hunter2\n":                  "section [basic] has no sk",
		"[basic]\nak=AK\nhunter2\n":                        "line 3: neither a comment, a section nor key = value",
		"[basic]\n=hunter2\n":                              "line 2: neither",
		"[basic]\nsk=\"hunter2\n":                          "line 2: the value of sk has no closing quote",
		"[basic\nsk=hunter2\n":                             "line 1: a section's name must end with ]",
	} {
		write(t, path, profile)
		expect(t, ProfileCredentials(""), want)
	}
}

func TestTheDefaultProfileMayBeMissing(t *testing.T) {
	home := t.TempDir()
	setenv(t, nil)
	t.Setenv("HOME", home)
	source, named := ProfileCredentials(""), ProfileCredentials(filepath.Join(home, "none"))
	missing := func(err error) bool { return errors.As(err, new(*NoCredentialsError)) }
	if _, err := source(t.Context()); !missing(err) || !strings.Contains(err.Error(), home) {
		t.Errorf("error is %v", err)
	}
	if _, err := named(t.Context()); err == nil || missing(err) {
		t.Errorf("a profile that was named and is missing: error is %v", err)
	}
	must(t, os.Mkdir(filepath.Join(home, ".huaweicloud"), 0o700))
	write(t, filepath.Join(home, ".huaweicloud", "credentials"), "[basic]\nak=AK\nsk=SK")
	expect(t, source, key("AK", "SK", "", ""))
	t.Setenv("HOME", "")
	expect(t, source, "no file is named and there is no home folder")
}

func TestAChainUsesTheFirstSourceThatIsConfigured(t *testing.T) {
	setenv(t, nil)
	none, broken := EnvironmentCredentials(), StaticCredentials(key("AK", "SK", "hunter2\n", ""))
	first, second := StaticCredentials(key("A1", "S", "", "")), StaticCredentials(key("A2", "S", "", ""))
	expect(t, ChainCredentials(first, second), key("A1", "S", "", ""))
	expect(t, ChainCredentials(none, second), key("A2", "S", "", ""))
	expect(t, ChainCredentials(none, broken, second), "security token contains a control character")
	expect(t, ChainCredentials(), "no credentials found: looked in no place")
	// Every machine is searched for a metadata service, also where nobody has set one up.
	service := &metadataServer{tokenStatus: 403, token: "denied"}
	_, err := ChainCredentials(none, PodIdentityCredentials(), reuse(service.start(t)))(t.Context())
	want := "no credentials found: looked in the environment (HUAWEICLOUD_SDK_AK), the pod's identity, the node's metadata service (" +
		"environment: HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not configured; pod identity: "
	if !errors.As(err, new(*NoCredentialsError)) || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "token: answered 403: denied)") {
		t.Errorf("error is %v, want %q first", err, want)
	}
}

const metadataKeys = `{"credential":{"access":"AK","secret":"hunter2","securitytoken":"STS","expires_at":"2026-01-02T09:04:05.123000Z"}}`

// metadataServer is a metadata service.
type metadataServer struct {
	tokenStatus int
	token       string // that it issues and requires; empty: none
	keyStatus   int
	keys        string
}

func (m *metadataServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/meta-data/latest/api/token":
		w.WriteHeader(m.tokenStatus)
		_, _ = io.WriteString(w, m.token+"\n")
	case r.URL.Path != "/openstack/latest/securitykey":
		w.WriteHeader(http.StatusNotFound)
	case r.Header.Get("X-Metadata-Token") != m.token:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "bad token "+r.Header.Get("X-Metadata-Token"))
	default:
		w.WriteHeader(m.keyStatus)
		_, _ = io.WriteString(w, m.keys)
	}
}

// start serves m and returns its source.
func (m *metadataServer) start(t *testing.T) CredentialSource {
	t.Helper()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return metadata(server.URL)
}

func temporary() Credentials {
	c := key("AK", "hunter2", "STS", "")
	c.Expires = time.Date(2026, 1, 2, 9, 4, 5, 0, time.UTC)
	return c
}

func TestMetadataCredentials(t *testing.T) {
	t.Parallel()
	const agency = "Please configure Cloud Service Agency first"
	for name, tc := range map[string]struct {
		service metadataServer
		want    any
	}{
		"a token and keys":             {metadataServer{200, "T", 200, metadataKeys}, temporary()},
		"no tokens":                    {metadataServer{404, "", 200, metadataKeys}, temporary()},
		"no token service":             {metadataServer{503, "", 200, metadataKeys}, temporary()},
		"no token where one is needed": {metadataServer{404, "wanted", 200, metadataKeys}, "answered 401"},
		"a token service that fails":   {metadataServer{500, "x", 200, metadataKeys}, "token: answered 500: x"},
		"no agency":                    {metadataServer{200, "T", 404, agency}, "security key: answered 404: " + agency + " (has the node an agency?)"},
		"no reason":                    {metadataServer{200, "T", 503, ""}, "security key: answered 503: no reason given"},
		"no JSON":                      {metadataServer{200, "T", 200, "hunter2"}, "the answer is not the JSON that was expected"},
		"no keys":                      {metadataServer{200, "T", 200, "{}"}, "the answer lacks the access key"},
		"no time of expiry":            {metadataServer{200, "T", 200, `{"credential":{"access":"AK","secret":"hunter2","securitytoken":"STS"}}`}, "its time of expiry"},
		"too much":                     {metadataServer{200, "T", 200, strings.Repeat(" ", 300<<10)}, "the answer has more than 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.service.start(t), tc.want)
		})
	}
	down := httptest.NewServer(nil)
	down.Close()
	expect(t, metadata(down.URL), "metadata service at "+down.URL+": token: dial tcp")
}

// podAgent is the agent of CCE's pod identity, which requires the token TOKEN.
func podAgent(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.Method != http.MethodPost || string(body) != "{}" || r.Header.Get("Content-Type") != "application/json; charset=utf-8":
		w.WriteHeader(http.StatusBadRequest)
	case r.URL.Path == "/redirect":
		http.Redirect(w, r, "/keys", http.StatusTemporaryRedirect)
	case r.Header.Get("Authorization") != "TOKEN":
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "token %s is unknown", r.Header.Get("Authorization"))
	default:
		_, _ = io.WriteString(w, `{"credentials":{"accessKeyId":"AK","secretAccessKey":"hunter2","securityToken":"STS","expiration":"2026-01-02T09:04:05Z"}}`)
	}
}

func TestPodIdentity(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(podAgent))
	t.Cleanup(agent.Close)
	dir := t.TempDir()
	good, bad := write(t, filepath.Join(dir, "good"), "TOKEN\n"), write(t, filepath.Join(dir, "bad"), "hunter2")
	for _, tc := range []struct {
		uri, file string
		want      any
	}{
		{agent.URL + "/keys", good, temporary()},
		{agent.URL + "/keys", bad, "answered 403: token [redacted] is unknown"},
		{agent.URL + "/redirect", good, "answered 307"},
		{agent.URL, filepath.Join(dir, "none"), "pod identity: token: stat"},
		{"", good, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE is set, but HC_CONTAINER_CREDENTIALS_FULL_URI is not"},
		{agent.URL, "", "HC_CONTAINER_CREDENTIALS_FULL_URI is set, but HC_CONTAINER_AUTHORIZATION_TOKEN_FILE is not"},
		{"", "", "HC_CONTAINER_CREDENTIALS_FULL_URI and HC_CONTAINER_AUTHORIZATION_TOKEN_FILE are not configured"},
		{"http://8.8.8.8/keys", good, "it must be https, or http to a private, link-local or loopback address"},
		{"http://agent.example.com/keys", good, "it must be https"},
		{"http://[::1", good, "HC_CONTAINER_CREDENTIALS_FULL_URI: parse"},
	} {
		setenv(t, map[string]string{envPodIdentityURI: tc.uri, envPodIdentityTokenFile: tc.file})
		expect(t, PodIdentityCredentials(), tc.want)
	}
}

// issuer hands out keys that are valid for a while, and takes a second for it.
type issuer struct {
	mu    sync.Mutex
	asked int
	valid time.Duration
	err   error
}

func (i *issuer) Credentials(ctx context.Context) (Credentials, error) {
	i.mu.Lock()
	i.asked++
	number, err, valid := i.asked, i.err, i.valid
	i.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return Credentials{}, ctx.Err()
	}
	if err != nil {
		return Credentials{}, err
	}
	c := Credentials{AccessKey: fmt.Sprint("AK", number), SecretKey: NewSecret("SK")}
	if valid != 0 {
		c.Expires = time.Now().Add(valid)
	}
	return c, nil
}

func (i *issuer) set(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

// wantKey checks the key that a source supplies, and how long it took to get.
func wantKey(t *testing.T, source CredentialSource, key string, takes time.Duration) {
	t.Helper()
	begun := time.Now()
	c, err := source(t.Context())
	if err != nil || c.AccessKey != key || time.Since(begun) != takes {
		t.Errorf("key is %s after %s, error %v; want %s after %s", c.AccessKey, time.Since(begun), err, key, takes)
	}
	synctest.Wait()
}

func TestTemporaryKeysAreRequestedOnceForAllCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: time.Hour}
		cached := reuse(source.Credentials)
		errGone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second/2, func() { cancel(errGone) })
		var first error
		var callers sync.WaitGroup
		callers.Go(func() { _, first = cached(ctx) })
		synctest.Wait()
		for range 100 {
			callers.Go(func() {
				if c, err := cached(t.Context()); err != nil || c.AccessKey != "AK1" {
					t.Errorf("key is %s, error %v", c.AccessKey, err)
				}
			})
		}
		callers.Wait()
		if source.asked != 1 || !errors.Is(first, errGone) {
			t.Errorf("asked %d times; the caller that left got %v", source.asked, first)
		}
	})
}

func TestKeysAreRenewedInTheBackground(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		valid   time.Duration
		refused bool
		renews  time.Duration // after this long
	}{
		"40 minutes ahead":                  {6 * time.Hour, false, 6*time.Hour - 40*time.Minute},
		"a third ahead, if they live short": {time.Hour, false, 40 * time.Minute},
		"once refused, but not at once":     {6 * time.Hour, true, 29 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cached := reuse((&issuer{valid: tc.valid}).Credentials)
				c, err := cached(t.Context())
				if err != nil || c.AccessKey != "AK1" {
					t.Errorf("key is %s, error %v", c.AccessKey, err)
				}
				if tc.refused {
					c.Refused()
				}
				time.Sleep(tc.renews - 2*time.Second)
				wantKey(t, cached, "AK1", 0)
				time.Sleep(4 * time.Second)
				wantKey(t, cached, "AK1", 0) // begins to renew, and does not wait
				time.Sleep(2 * time.Second)
				wantKey(t, cached, "AK2", 0)
			})
		})
	}
}

func TestOldKeysAreUsedWhileTheirRenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{valid: time.Hour}
		cached := reuse(source.Credentials)
		wantKey(t, cached, "AK1", time.Second)
		errDown := errors.New("metadata service is down")
		source.set(errDown)
		for range 59 {
			time.Sleep(time.Minute)
			wantKey(t, cached, "AK1", 0)
		}
		if source.asked < 15 || source.asked > 25 {
			t.Errorf("asked %d times in the last 20 minutes, want about once a minute", source.asked)
		}
		time.Sleep(time.Minute)
		if _, err := cached(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("with expired keys: error is %v", err)
		}
		source.set(nil)
		wantKey(t, cached, fmt.Sprint("AK", source.asked+1), time.Second)
	})
}

func TestARenewalEndsAfter30s(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := func(ctx context.Context) (Credentials, error) {
			<-ctx.Done()
			return Credentials{}, ctx.Err()
		}
		begun := time.Now()
		_, err := reuse(hanging)(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 30*time.Second {
			t.Errorf("error is %v after %s", err, time.Since(begun))
		}
	})
}

func TestKeyFilesThatOthersCanWriteAreRefused(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[os.FileMode]bool{
		0o400: false, 0o440: false, 0o444: false, 0o600: false, 0o640: false, 0o644: false,
		0o620: true, 0o660: true, 0o664: true, 0o666: true, 0o602: true, 0o777: true,
	} {
		folder := t.TempDir()
		// As in a mounted Secret, the file is a symbolic link.
		file := write(t, filepath.Join(folder, "data"), "[basic]\nak=AK\nsk=SK\n")
		must(t, os.Chmod(file, mode))
		link := filepath.Join(folder, "link")
		must(t, os.Symlink("data", link))
		for name, source := range map[string]CredentialSource{
			"files": FileCredentials(link, link, ""), "a token": TokenFile(link), "a profile": ProfileCredentials(link),
		} {
			_, err := source(t.Context())
			said := err != nil && strings.Contains(err.Error(), fmt.Sprintf("%s has mode %04o, by which others can write it", link, mode)) &&
				strings.Contains(err.Error(), "chmod go-w "+link)
			if said != refused {
				t.Errorf("%s of mode %04o: error is %v, want one: %v", name, mode, err, refused)
			}
		}
		if readable, err := CheckKeyFile(link); readable != (mode&0o004 != 0) || (err != nil) != refused {
			t.Errorf("mode %04o is readable by all: %v, error %v", mode, readable, err)
		}
	}
}

// A source that was used holds on to what it read.
func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2-very-secret"
	secret := NewSecret(hidden)
	credentials := Credentials{AccessKey: "AK", SecretKey: secret, SecurityToken: secret, Token: secret, Expires: time.Now().Add(time.Hour)}
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "secret"), hidden)
	files := FileCredentials(file, file, file)
	client, err := NewClient(Config{Endpoint: "https://example.com", ProjectID: "p", Credentials: files})
	must(t, err)
	iam := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", hidden)
		_, _ = fmt.Fprintf(w, `{"credential":{"access":"AK","secret":%q,"securitytoken":%[1]q,"expires_at":"2100-01-01T00:00:00Z"}}`, hidden)
	}))
	t.Cleanup(iam.Close)
	type private struct{ inner Credentials }
	for name, value := range map[string]any{
		"a secret": secret, "a pointer to it": &secret, "credentials": credentials, "an unexported field": private{credentials},
		"a slice": []Secret{secret}, "a map": map[string]Secret{"a": secret}, "a client": client,
		"a static source": StaticCredentials(credentials), "files": files, "a token": TokenFile(file), "a chain": ChainCredentials(files),
		"a profile":         ProfileCredentials(write(t, filepath.Join(dir, "profile"), "[basic]\nak=AK\nsk="+hidden)),
		"a cache":           reuse(StaticCredentials(credentials)),
		"a service account": OIDCCredentials("p", file, Config{IAMEndpoint: iam.URL}),
	} {
		if source, ok := value.(CredentialSource); ok {
			for range 2 { // the second time, a cache is at rest
				if _, err := source(t.Context()); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		var shown bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%5.3s", "%p"} {
			fmt.Fprintf(&shown, verb, value)
		}
		slog.New(slog.NewTextHandler(&shown, nil)).Info("m", "value", value)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("m", "value", value)
		if encoded, err := json.Marshal(value); err == nil {
			shown.Write(encoded)
		}
		if text := shown.String(); strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
}

func FuzzParseProfile(f *testing.F) {
	f.Add("[basic]\nak = AK\nsk = SK\n")
	f.Add("\ufeff[ basic ] ; c\r\nak: 'A' # c\r\nsk=\"x\"")
	f.Add("[basic\n=\n[]\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseProfile(text)
		if err == nil && (c.AccessKey == "" || c.SecretKey.Empty() || strings.Contains(c.AccessKey+c.SecretKey.Reveal(), "\n")) {
			t.Errorf("a profile with the access key %q is accepted", c.AccessKey)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31m\r\n\u202eb", 400)
	f.Fuzz(func(t *testing.T, s string, n int) {
		text := clean(strings.Repeat(s, 1+max(n, 0)%1000))
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) || len([]rune(text)) > maxMessage+1 {
			t.Errorf("%q is not clean", text)
		}
	})
}
