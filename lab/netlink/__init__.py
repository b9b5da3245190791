"""What the kernel offers a lab: namespaces, mounts, rtnetlink, sysctls and offloads, for the calling process."""
