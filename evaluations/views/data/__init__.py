"""Pages of datasets: their cases, images, imports, reports, proposals and annotation."""
