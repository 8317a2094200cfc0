"""All vectors of a collection, read as an index is filled."""


def all_vectors(catalog, workspace_id, collection):
    """(row_ids_N, embeddings_ND), ascending."""
    row_ids_N, _ = catalog.content_hashes(workspace_id, collection)
    return catalog.row_vectors(workspace_id, collection, row_ids_N.tolist())
