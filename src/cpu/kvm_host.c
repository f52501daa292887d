/* SPDX-License-Identifier: MIT */
/*
 * Opening KVM: every way in which a host can refuse, told apart, each with
 * what to do about it.
 */
#include "kvm_int.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <pwd.h>

#define KVM_NODE "/dev/kvm"

/* "vmx", "svm" or NULL: the first processor's flags. */
static const char *cpu_virt_flag(void)
{
	char line[8192];
	const char *flag = NULL;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "flags", 5))
			continue;
		if (strstr(line, " vmx"))
			flag = "vmx";
		else if (strstr(line, " svm"))
			flag = "svm";
		break;
	}
	if (f)
		fclose(f);
	return flag;
}

static bool err_no_node(struct err *e)
{
	const char *flag = cpu_virt_flag();

	if (!flag)
		return err_set(e, HV_EXIT_NO_KVM, "no " KVM_NODE ": this CPU shows neither vmx "
			       "nor svm (switch virtualization on in the BIOS, or nested "
			       "virtualization in the hypervisor below)");
	return err_set(e, HV_EXIT_NO_KVM, "no " KVM_NODE ": the module is not loaded; run: "
		       "sudo modprobe kvm_%s", flag[0] == 'v' ? "intel" : "amd");
}

static bool in_group_now(gid_t gid)
{
	gid_t list[256];
	int n = getgroups(256, list);

	for (int i = 0; i < n; i++)
		if (list[i] == gid)
			return true;
	return getegid() == gid;
}

static bool in_group_file(const struct group *g, const char *user)
{
	for (char **m = g->gr_mem; *m; m++)
		if (!strcmp(*m, user))
			return true;
	return false;
}

#define DENIED "no permission for " KVM_NODE

static bool err_no_permission(struct err *e)
{
	struct passwd *pw = getpwuid(getuid());
	const char *user = pw ? pw->pw_name : "$USER", *group = "kvm";
	struct group *g;
	struct stat st;

	if (stat(KVM_NODE, &st) < 0 || !(st.st_mode & S_IRGRP) || !(st.st_mode & S_IWGRP) ||
	    !st.st_gid)
		return err_set(e, HV_EXIT_NO_KVM, DENIED ", and no group has it; run: "
			       "sudo setfacl -m u:%s:rw " KVM_NODE, user);
	g = getgrgid(st.st_gid);
	if (g)
		group = g->gr_name;
	if (in_group_now(st.st_gid))
		return err_set(e, HV_EXIT_NO_KVM, DENIED " although this process is in its group "
			       "%s: a sandbox or security module forbids it", group);
	if (g && in_group_file(g, user))
		return err_set(e, HV_EXIT_NO_KVM, DENIED ": you are in group %s, but this login "
			       "is older than that; log out and in again (or: newgrp %s)", group,
			       group);
	return err_set(e, HV_EXIT_NO_KVM, DENIED ": add yourself to group %s: "
		       "sudo usermod -aG %s %s, then log in again", group, group, user);
}

static const struct { int cap; const char *what; } needed_caps[] = {
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_EXT_CPUID, "CPUID" },
	{ KVM_CAP_SPLIT_IRQCHIP, "split irqchip" },
	{ KVM_CAP_SIGNAL_MSI, "signal MSI" },
	{ KVM_CAP_READONLY_MEM, "read-only memory" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_MP_STATE, "MP state" },
	{ KVM_CAP_VCPU_EVENTS, "vCPU events" },
};

static bool check_caps(int fd, struct err *e)
{
	int api = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (api != KVM_API_VERSION)
		return err_set(e, HV_EXIT_NO_KVM, KVM_NODE " speaks API version %d, not %d", api,
			       KVM_API_VERSION);
	for (unsigned i = 0; i < ARRAY_SIZE(needed_caps); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) <= 0)
			return err_set(e, HV_EXIT_NO_KVM, "this kernel's KVM lacks \"%s\"; "
				       "Linux 4.13 and newer have it", needed_caps[i].what);
	return true;
}

int kvm_open(struct err *e)
{
	int fd = open(KVM_NODE, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		if (check_caps(fd, e))
			return fd;
		close(fd);
		return -1;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		err_no_node(e);
	else if (errno == EACCES || errno == EPERM)
		err_no_permission(e);
	else
		err_errno(e, HV_EXIT_NO_KVM, errno, "cannot open " KVM_NODE);
	return -1;
}

/* EBUSY: VT-x or SVM belongs to somebody else.  Whose modules are loaded tells who. */
static bool err_held(struct err *e)
{
	static const struct { const char *module, *who, *remedy; } others[] = {
		{ "vboxdrv", "VirtualBox", "sudo modprobe -r vboxnetadp vboxnetflt vboxdrv" },
		{ "vmmon", "VMware", "sudo modprobe -r vmmon" },
	};
	char path[64];

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", others[i].module);
		if (access(path, F_OK) == 0)
			return err_set(e, HV_EXIT_NO_KVM, "KVM is busy: %s holds the processor's "
				       "virtualization; stop its machines, or run: %s",
				       others[i].who, others[i].remedy);
	}
	return err_set(e, HV_EXIT_NO_KVM, "KVM is busy: another hypervisor (VirtualBox, VMware) "
		       "holds the processor's virtualization; stop its machines or unload its "
		       "modules");
}

int kvm_create_vm(int dev_fd, struct err *e)
{
	int fd;

	do {
		fd = ioctl(dev_fd, KVM_CREATE_VM, 0);
	} while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	if (errno == EBUSY)
		err_held(e);
	else
		err_errno(e, HV_EXIT_NO_KVM, errno, "KVM cannot create a virtual machine");
	return -1;
}
