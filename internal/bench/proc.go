package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// perSecond is how many units of /proc's CPU times are a second (USER_HZ, which is 100 on every Linux).
const perSecond = 100

// cpuOf returns the CPU seconds that a process has used, and with tree also its children, ended or not. What has gone counts 0.
func cpuOf(pid int, tree bool) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:])) // from the third field, state, on
	const userTime, systemTime, childrenEnd = 11, 12, 15
	if len(fields) < childrenEnd {
		return 0
	}
	last := systemTime + 1
	if tree {
		last = childrenEnd
	}
	var sum float64
	for _, f := range fields[userTime:last] {
		v, _ := strconv.ParseFloat(f, 64) // the kernel writes numbers
		sum += v / perSecond
	}
	if !tree {
		return sum
	}
	for _, child := range children(pid) {
		sum += cpuOf(child, true)
	}
	return sum
}

func children(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// memoryOf returns what a process has in memory, and the most that it had since forgetPeak, in MiB.
func memoryOf(pid int) (now, peak float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// forgetPeak makes the peak of a process what it has in memory now.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// machineCPU returns the CPU seconds that the whole machine has been busy, and those that its host took away.
func machineCPU() (busy, stolen float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		v, _ := strconv.ParseFloat(f, 64)
		switch i {
		case 0, 1, 2, 5, 6: // user, nice, system, irq, softirq
			busy += v / perSecond
		case 7:
			stolen += v / perSecond
		}
	}
	return busy, stolen
}

// A usage is who has used the machine so far, in CPU seconds.
type usage struct {
	at                           time.Time
	sender, target, busy, stolen float64
	beside                       float64 // what works for the target
}

// used takes stock; target is the process under test, beside are others that work for it.
func used(target int, beside ...int) usage {
	u := usage{at: time.Now(), sender: cpuOf(os.Getpid(), false), target: cpuOf(target, true)}
	for _, pid := range beside {
		u.beside += cpuOf(pid, true)
	}
	u.busy, u.stolen = machineCPU()
	return u
}

// A share is who used the machine between two moments, in cores.
type share struct {
	sender, target, other, stolen float64
	beside                        float64 // brokers and database
	targetSeconds                 float64 // CPU seconds of the process under test
}

func (u usage) until(v usage) share {
	wall := v.at.Sub(u.at).Seconds()
	s := share{
		sender: (v.sender - u.sender) / wall, target: (v.target - u.target) / wall, stolen: (v.stolen - u.stolen) / wall,
		beside: (v.beside - u.beside) / wall, targetSeconds: v.target - u.target,
	}
	s.other = max((v.busy-u.busy)/wall-s.sender-s.target-s.beside, 0)
	return s
}

// filesystem returns the kind of file system that dir is on, as the kernel names it.
func filesystem(dir string) string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	kind, longest := "", -1
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		at := strings.TrimSuffix(fields[1], "/") + "/"
		if strings.HasPrefix(dir+"/", at) && len(at) >= longest {
			kind, longest = fields[2], len(at)
		}
	}
	return kind
}
