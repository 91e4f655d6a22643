# Everything here is called by other compiled modules only.
