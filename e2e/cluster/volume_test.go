package cluster_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// prepare makes the pod's volumes, and the arguments of its container.
func (p *pod) prepare() error {
	dir, err := os.MkdirTemp(filepath.Dir(p.kubelet.binary), "pod-")
	if err != nil {
		return err
	}
	adapt, err := p.adaptation(dir)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return p.mountConfig(dir, adapt) },
		func() error { return p.mountSecret(dir) },
		func() error { return p.writeKubeconfig(filepath.Join(dir, "kubeconfig")) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, arg := range p.object.Spec.Containers[0].Args {
		p.args = append(p.args, adapt.Replace(arg))
	}
	p.dir, p.logFile = dir, filepath.Join(dir, "log")
	return nil
}

// start starts the program, for the first time or again.
func (p *pod) start() error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	command := exec.Command(p.kubelet.binary, p.args...)
	command.Stdout, command.Stderr = log, log
	command.Env = []string{"HOME=" + p.dir, "POD_NAMESPACE=" + p.object.Namespace, "KUBECONFIG=" + filepath.Join(p.dir, "kubeconfig")}
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		p.err = command.Wait()
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process, p.exited = command.Process, exited
	return nil
}

// adaptation replaces what pods of one host can't share.
func (p *pod) adaptation(dir string) (*strings.Replacer, error) {
	replacements := []string{"/etc/hssgate", dir}
	addresses := map[string]string{}
	for _, port := range p.object.Spec.Containers[0].Ports {
		listener, err := (&net.ListenConfig{}).Listen(p.kubelet.ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses[port.Name] = listener.Addr().String()
		replacements = append(replacements, fmt.Sprintf("ddress: :%d\n", port.ContainerPort), fmt.Sprintf("ddress: %s\n", listener.Addr()))
	}
	p.webhook, p.health, p.metrics = addresses["webhook"], addresses["health"], addresses["metrics"]
	return strings.NewReplacer(replacements...), nil
}

func (p *pod) mountConfig(dir string, adapt *strings.Replacer) error {
	object, err := p.kubelet.client.CoreV1().ConfigMaps(p.object.Namespace).Get(p.kubelet.ctx, p.volume("config").ConfigMap.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return mount(filepath.Join(dir, "config"), map[string][]byte{"config.yaml": []byte(adapt.Replace(object.Data["config.yaml"] + "\n"))})
}

func (p *pod) mountSecret(dir string) error {
	object, err := p.kubelet.client.CoreV1().Secrets(p.object.Namespace).Get(p.kubelet.ctx, p.volume("credentials").Secret.SecretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return mount(filepath.Join(dir, "credentials"), object.Data)
}

func (p *pod) volume(name string) corev1.VolumeSource {
	for _, volume := range p.object.Spec.Volumes {
		if volume.Name == name {
			return volume.VolumeSource
		}
	}
	panic("the pod has no volume " + name)
}

func mount(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeKubeconfig gives the pod a token of its service account, and no more.
func (p *pod) writeKubeconfig(path string) error {
	request := newTokenRequest()
	request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.object.Name, UID: p.object.UID}
	token, err := p.kubelet.client.CoreV1().ServiceAccounts(p.object.Namespace).CreateToken(p.kubelet.ctx, p.object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	kubeconfig, err := clientcmd.Load(p.kubelet.kubeconfig)
	if err != nil {
		return err
	}
	for name := range kubeconfig.AuthInfos {
		kubeconfig.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	}
	return clientcmd.WriteToFile(*kubeconfig, path)
}

func newTokenRequest() *authenticationv1.TokenRequest {
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
}
