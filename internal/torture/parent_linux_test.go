package torture

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process if the parent ends without having done so, even one that is stopped and
// would not notice. To the kernel, the parent is the thread that started it.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
