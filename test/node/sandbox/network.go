package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// device carries the addresses of the sandbox: neither a kubelet nor the API server
// accepts a loopback address for a node.
const device = "krm0"

// prepareNetwork gives the new network namespace its own addresses. Nothing leads out.
func prepareNetwork(addresses []string) error {
	commands := []string{
		"link set lo up",
		"link add " + device + " type bridge",
	}
	for _, address := range addresses {
		commands = append(commands, "address add "+address+"/32 dev "+device)
	}
	commands = append(commands, "link set "+device+" up")
	for _, command := range commands {
		out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, strings.TrimSpace(string(out)))
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward between pods: %w", err)
	}
	return nil
}
