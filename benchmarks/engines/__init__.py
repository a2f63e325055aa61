"""The engines that are compared: each module is one process, which a benchmark starts and asks through its Worker."""
