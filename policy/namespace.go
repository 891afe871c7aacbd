package policy

import "context"

type namespaceKey struct{}

// WithNamespace returns a context for what is looked up on behalf of a namespace,
// which takes turns with what others need.
func WithNamespace(ctx context.Context, namespace string) context.Context {
	return context.WithValue(ctx, namespaceKey{}, namespace)
}

// NamespaceOf returns the namespace that something is looked up for; empty: none.
func NamespaceOf(ctx context.Context) string {
	namespace, _ := ctx.Value(namespaceKey{}).(string)
	return namespace
}
