"""Video on a GPU: NVDEC decodes, torch crops and resizes, NVENC encodes, each where the hardware can."""
