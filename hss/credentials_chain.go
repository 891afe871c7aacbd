package hss

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ChainCredentials asks the sources in turn and uses the first that is
// configured. A source that is configured and fails ends the search: another
// identity should not step in unnoticed.
func ChainCredentials(sources ...CredentialSource) CredentialSource {
	return chainCredentials(sources)
}

// DefaultCredentials looks where the official SDK does, and for CCE's pod
// identity too: environment variables, the profile file, pod identity, and the
// agency of the node. Temporary keys are kept and renewed ahead of expiry.
func DefaultCredentials() CredentialSource {
	return ChainCredentials(
		EnvironmentCredentials(nil),
		ProfileCredentials("", nil),
		CachedCredentials(PodIdentityCredentials(nil, nil), CacheOptions{}),
		CachedCredentials(MetadataCredentials("", nil), CacheOptions{}),
	)
}

type chainCredentials []CredentialSource

// Credentials implements [CredentialSource].
func (s chainCredentials) Credentials(ctx context.Context) (Credentials, error) {
	var failed []error
	for _, source := range s {
		c, err := source.Credentials(ctx)
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
		if errors.Is(err, ErrNotConfigured) {
			continue
		}
		if len(failed) > 1 && isUnsought(err) {
			return Credentials{}, &NoCredentialsError{failed}
		}
		return Credentials{}, afterMissing(failed[:len(failed)-1], err)
	}
	return Credentials{}, &NoCredentialsError{failed}
}

// afterMissing also names what was looked for before a source failed.
func afterMissing(missing []error, err error) error {
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w (before that: %s)", err, texts(missing))
}

func texts(errs []error) string {
	all := make([]string, len(errs))
	for i, err := range errs {
		all[i] = err.Error()
	}
	return strings.Join(all, "; ")
}

// sourceError is why there are no credentials in a place.
type sourceError struct {
	// place says in a few words where they were looked for.
	place string
	// unsought says that the place is looked in whether or not anybody has set it
	// up, so that a failure may come of nobody having done so.
	unsought bool
	err      error
}

// Error says why.
func (e *sourceError) Error() string { return e.err.Error() }

// Unwrap returns why.
func (e *sourceError) Unwrap() error { return e.err }

func isUnsought(err error) bool {
	failed, ok := errors.AsType[*sourceError](err)
	return ok && failed.unsought
}

// NoCredentialsError says that no source of a chain holds credentials, as far as
// anybody has set one up.
type NoCredentialsError struct{ failed []error }

// Error says first where was looked, for that is what to mend, and then what was
// found in each place.
func (e *NoCredentialsError) Error() string {
	var places []string
	for _, err := range e.failed {
		if failed, ok := errors.AsType[*sourceError](err); ok {
			places = append(places, failed.place)
		}
	}
	text := "no credentials found"
	if len(places) > 0 {
		text += ": looked in " + strings.Join(places, ", ")
	}
	return fmt.Sprintf("%s (%s)", text, texts(e.failed))
}

// Unwrap returns why the last of them has none: [ErrNotConfigured] for a chain
// of which none is configured.
func (e *NoCredentialsError) Unwrap() error {
	if len(e.failed) == 0 {
		return ErrNotConfigured
	}
	return e.failed[len(e.failed)-1]
}

// Invalidate tells every source that its credentials were refused.
func (s chainCredentials) Invalidate() {
	for _, source := range s {
		invalidate(source)
	}
}
