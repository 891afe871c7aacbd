package hss

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// profileSection is the section that holds the credentials of a project.
const profileSection = "basic"

// ProfileCredentials reads the keys ak, sk, security_token and project_id from
// the section [basic] of an INI file, as the official SDK does. If path is
// empty, it is that of HUAWEICLOUD_SDK_CREDENTIALS_FILE, or
// ~/.huaweicloud/credentials, which may be missing. The file is read anew when
// it changes. If getenv is nil, os.Getenv is asked.
func ProfileCredentials(path string, getenv Getenv) CredentialSource {
	s := &profileCredentials{required: true}
	if path == "" {
		path = getenv.value(envCredentialsFile)
	}
	if path == "" {
		path, s.pathErr = defaultProfile()
		s.required = false
	}
	s.files.paths = []string{path}
	return s
}

// defaultProfile is the official SDK's default path.
func defaultProfile() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		err = fmt.Errorf("profile: no file is named and there is no home folder (%w): %w", err, ErrNotConfigured)
		return "", &sourceError{place: "the profile file", err: err}
	}
	return filepath.Join(home, ".huaweicloud", "credentials"), nil
}

type profileCredentials struct {
	files    watched
	required bool
	pathErr  error
}

// Credentials implements [CredentialSource].
func (s *profileCredentials) Credentials(context.Context) (Credentials, error) {
	if s.pathErr != nil {
		return Credentials{}, s.pathErr
	}
	path := s.files.paths[0]
	contents, err := s.files.read()
	if errors.Is(err, fs.ErrNotExist) && !s.required {
		err = fmt.Errorf("profile: %s does not exist: %w", path, ErrNotConfigured)
		return Credentials{}, &sourceError{place: "the profile file", err: err}
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("profile: %w", err)
	}
	c, err := parseProfile(contents[0].Reveal())
	if err != nil {
		return Credentials{}, fmt.Errorf("profile %s: %w", path, err)
	}
	return c, nil
}

// Invalidate has the file read again even if it seems unchanged.
func (s *profileCredentials) Invalidate() { s.files.invalidate() }

// parseProfile reads the section [basic] of an INI file. Errors name lines,
// never what is in them.
func parseProfile(text string) (Credentials, error) {
	values, err := parseINI(text, profileSection)
	if err != nil {
		return Credentials{}, err
	}
	if values == nil {
		return Credentials{}, fmt.Errorf("there is no section [%s]", profileSection)
	}
	for _, key := range []string{"ak", "sk"} {
		if values[key] == "" {
			return Credentials{}, fmt.Errorf("section [%s] has no %s", profileSection, key)
		}
	}
	return Credentials{
		AccessKey:     values["ak"],
		SecretKey:     NewSecret(values["sk"]),
		SecurityToken: NewSecret(values["security_token"]),
		ProjectID:     values["project_id"],
	}, nil
}

// parseINI returns the keys of one section, nil if there is no such section.
// Comments begin with # or ;, on a line of their own or after a space. A value
// may stand in quotes, and then hold both.
func parseINI(text, section string) (map[string]string, error) {
	var values map[string]string
	inside := false
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			name, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return nil, fmt.Errorf("line %d: a section's name must end with ]", i+1)
			}
			inside = strings.TrimSpace(name) == section
			if inside && values == nil {
				values = map[string]string{}
			}
			continue
		}
		if !inside {
			continue
		}
		key, value, err := parseINILine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		values[key] = value
	}
	return values, nil
}

// parseINILine reads "key = value" or "key: value".
func parseINILine(line string) (key, value string, err error) {
	at := strings.IndexAny(line, "=:")
	if at <= 0 {
		return "", "", errors.New("neither a comment, a section nor key = value")
	}
	key, value = strings.TrimSpace(line[:at]), strings.TrimSpace(line[at+1:])
	if value == "" {
		return key, "", nil
	}
	if quote := value[0]; quote == '"' || quote == '\'' || quote == '`' {
		inner, _, closed := strings.Cut(value[1:], string(quote))
		if !closed {
			return "", "", fmt.Errorf("the value of %s has no closing quote", key)
		}
		return key, inner, nil
	}
	return key, withoutComment(value), nil
}

// withoutComment cuts what follows a # or ; after a space.
func withoutComment(value string) string {
	for i := range len(value) {
		if (value[i] == '#' || value[i] == ';') && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}
