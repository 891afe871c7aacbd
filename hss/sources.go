package hss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxCredentialFile bounds a file that credentials are read from.
const maxCredentialFile = 1 << 20

// CredentialSource returns the credentials to use now. It must be safe for concurrent use, and must not wait longer than ctx
// allows.
type CredentialSource func(ctx context.Context) (Credentials, error)

// StaticCredentials returns a source that always supplies the same credentials.
func StaticCredentials(c Credentials) CredentialSource {
	return func(context.Context) (Credentials, error) { return c, c.check() }
}

// NoCredentialsError reports that nothing is configured where credentials were looked for; then a chain tries its next
// source. A source that is configured and cannot be used returns another error.
type NoCredentialsError struct{ places, reasons []string }

func notConfigured(place, format string, args ...any) error {
	return &NoCredentialsError{[]string{place}, []string{fmt.Sprintf(format, args...)}}
}

// Error names first the places that were searched, as that is what to mend, and then the reasons.
func (e *NoCredentialsError) Error() string {
	return fmt.Sprintf("no credentials found: looked in %s (%s)", cmp.Or(strings.Join(e.places, ", "), "no place"), strings.Join(e.reasons, "; "))
}

// DefaultCredentials searches where the official SDK does, and CCE's pod identity too: environment variables, the
// profile file, pod identity, and the agency of the node.
func DefaultCredentials() CredentialSource {
	return ChainCredentials(EnvironmentCredentials(), ProfileCredentials(""), PodIdentityCredentials(), MetadataCredentials())
}

// ChainCredentials uses the first source that is configured. A source that is configured and fails ends the search:
// another identity must not be used unnoticed.
func ChainCredentials(sources ...CredentialSource) CredentialSource {
	return func(ctx context.Context) (Credentials, error) {
		missing := &NoCredentialsError{}
		for _, source := range sources {
			c, err := source(ctx)
			none, ok := errors.AsType[*NoCredentialsError](err)
			if !ok {
				return c, err
			}
			missing.places, missing.reasons = append(missing.places, none.places...), append(missing.reasons, none.reasons...)
		}
		return Credentials{}, missing
	}
}

const projectIDName = "HUAWEICLOUD_SDK_PROJECT_ID"

// EnvironmentCredentials reads HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, if they are set,
// HUAWEICLOUD_SDK_SECURITY_TOKEN and HUAWEICLOUD_SDK_PROJECT_ID.
func EnvironmentCredentials() CredentialSource {
	const accessKey, secretKey = "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK" //nolint:gosec // names of variables
	return func(context.Context) (Credentials, error) {
		ak, sk, err := bothSet("environment", "the environment ("+accessKey+")", accessKey, secretKey)
		if err != nil {
			return Credentials{}, err
		}
		return Credentials{
			AccessKey:     ak,
			SecretKey:     NewSecret(sk),
			SecurityToken: NewSecret(getenv("HUAWEICLOUD_SDK_SECURITY_TOKEN")),
			ProjectID:     getenv(projectIDName),
		}, nil
	}
}

// getenv returns an environment variable without the space around it.
func getenv(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// bothSet returns two environment variables of which none goes without the other.
func bothSet(source, place, a, b string) (valueA, valueB string, err error) {
	valueA, valueB = getenv(a), getenv(b)
	switch {
	case valueA == "" && valueB == "":
		err = notConfigured(place, "%s: %s and %s are not configured", source, a, b)
	case valueA == "":
		err = fmt.Errorf("%s: %s is set, but %s is not", source, b, a)
	case valueB == "":
		err = fmt.Errorf("%s: %s is set, but %s is not", source, a, b)
	}
	return valueA, valueB, err
}

// FileCredentials reads an access key and its secret key from a file each, as a mounted Kubernetes Secret has them. The
// files are read for every request, so they may change. securityTokenFile may be empty.
func FileCredentials(accessKeyFile, secretKeyFile, securityTokenFile string) CredentialSource {
	paths := []string{accessKeyFile, secretKeyFile}
	if securityTokenFile != "" {
		paths = append(paths, securityTokenFile)
	}
	return func(context.Context) (Credentials, error) {
		contents, err := readFiles(paths...)
		if err != nil {
			return Credentials{}, fmt.Errorf("credential files: %w", err)
		}
		contents = append(contents, "") // in place of a missing security token
		return Credentials{AccessKey: contents[0], SecretKey: NewSecret(contents[1]), SecurityToken: NewSecret(contents[2])}, nil
	}
}

// TokenFile reads an IAM token, sent as X-Auth-Token, from a file, for every request. A token is valid for 24 hours at
// most, so the file has to be renewed.
func TokenFile(path string) CredentialSource {
	return func(context.Context) (Credentials, error) {
		contents, err := readFiles(path)
		if err != nil {
			return Credentials{}, fmt.Errorf("token file: %w", err)
		}
		return Credentials{Token: NewSecret(contents[0])}, nil
	}
}

// readFiles returns the contents of files that belong together, without the space around them. None may be empty. They
// are read until two reads are equal, as they may be replaced meanwhile.
func readFiles(paths ...string) ([]string, error) {
	var before []string
	for range 4 {
		var contents []string
		for _, path := range paths {
			content, err := readFile(path)
			if err != nil {
				return nil, err
			}
			if content = strings.TrimSpace(content); content == "" {
				return nil, fmt.Errorf("%s is empty", path)
			}
			contents = append(contents, content)
		}
		if len(paths) == 1 || slices.Equal(contents, before) {
			return contents, nil
		}
		before = contents
	}
	return nil, fmt.Errorf("%s keep changing while they are read", strings.Join(paths, ", "))
}

func readFile(path string) (string, error) {
	if _, err := CheckKeyFile(path); err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxCredentialFile+1))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > maxCredentialFile {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxCredentialFile)
	}
	return string(data), nil
}

// CheckKeyFile rejects a file with a key or a token that others than its owner can write: they could choose the
// identity that is used. It reports whether every user of the machine can read the file.
func CheckKeyFile(path string) (readable bool, err error) {
	const readableByAll, writableByOthers = 0o004, 0o022
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	mode := info.Mode().Perm()
	if mode&writableByOthers != 0 {
		err = fmt.Errorf("%s has mode %04o, by which others can write it; allowed are modes such as 0400, 0440 and 0600: "+
			"chmod go-w %[1]s", path, mode)
	}
	return mode&readableByAll != 0, err
}

// ProfileCredentials reads the keys ak, sk, security_token and project_id from the section [basic] of an INI file, as
// the official SDK does. If path is empty, it is that of HUAWEICLOUD_SDK_CREDENTIALS_FILE, or
// ~/.huaweicloud/credentials, which may be missing. The file is read for every request.
func ProfileCredentials(path string) CredentialSource {
	const place = "the profile file"
	return func(context.Context) (Credentials, error) {
		path, isDefault := cmp.Or(path, getenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE")), false
		if path == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return Credentials{}, notConfigured(place, "profile: no file is named and there is no home folder: %s", err)
			}
			path, isDefault = filepath.Join(home, ".huaweicloud", "credentials"), true
		}
		text, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) && isDefault {
			return Credentials{}, notConfigured(place, "profile: %s does not exist", path)
		}
		if err != nil {
			return Credentials{}, fmt.Errorf("profile: %w", err)
		}
		c, err := parseProfile(text)
		if err != nil {
			return Credentials{}, fmt.Errorf("profile %s: %w", path, err)
		}
		return c, nil
	}
}

// parseProfile reads the section [basic] of an INI file. Comments begin with # or ;, on a line of their own or after a
// space. A value may stand in quotes, and then hold both. Errors name lines, never their content.
func parseProfile(text string) (Credentials, error) {
	values, inside, comment := map[string]string{}, false, regexp.MustCompile(`(^|\s)[#;].*`)
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		at := strings.IndexAny(line, "=:")
		switch {
		case comment.FindString(line) == line: // or nothing
		case line[0] == '[':
			name, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return Credentials{}, fmt.Errorf("line %d: a section's name must end with ]", i+1)
			}
			inside = strings.TrimSpace(name) == "basic"
		case !inside:
		case at <= 0:
			return Credentials{}, fmt.Errorf("line %d: neither a comment, a section nor key = value", i+1)
		default:
			key, value := strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+1:])
			quote := value[:min(len(value), 1)]
			if !strings.ContainsAny(quote, "\"'`") {
				values[key] = strings.TrimSpace(comment.ReplaceAllString(value, ""))
				continue
			}
			closed := false
			if values[key], _, closed = strings.Cut(value[1:], quote); !closed {
				return Credentials{}, fmt.Errorf("line %d: the value of %s has no closing quote", i+1, key)
			}
		}
	}
	for _, key := range []string{"ak", "sk"} {
		if values[key] == "" {
			return Credentials{}, fmt.Errorf("section [basic] has no %s", key)
		}
	}
	return Credentials{
		AccessKey: values["ak"], SecretKey: NewSecret(values["sk"]), SecurityToken: NewSecret(values["security_token"]), ProjectID: values["project_id"],
	}, nil
}
