// Generated from docs/openapi.json by `npm run generate`. Do not edit.

export interface paths {
    "/health/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process responds, and this is its version */
        get: operations["get_liveness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The encoder works and the catalog reads and writes, with the state of each queue; else 503
         * @description The encoder is judged by its last pass. Only one that has been idle for seconds gets a frame,
         *     one for all who ask.
         */
        get: operations["get_readiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Prometheus text; 404 where the settings give it a port of its own
         * @description With SONOPROBE_METRICS_NEED_KEY it asks for a key with the scope ``metrics.read``.
         */
        get: operations["get_metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List entries of the workspace's audit log, newest first; reading it is an entry as well
         * @description 409 where the log is off.
         *
         *     Scope: `audit.read`.
         */
        get: operations["list_audit_entries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit/verification": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Verify a part of the workspace's chain: whether entries were changed, removed or cut off
         * @description ``next_cursor`` continues behind it; the parts together are the whole chain. What is noted
         *     elsewhere about the end of the chain is compared as far as this replica has it. 409 where the
         *     log is off.
         *
         *     Scope: `audit.read`.
         */
        get: operations["verify_audit_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Classifiers with the reports of their published versions, sorted by name
         * @description Scope: `classifier.read`.
         */
        get: operations["list_classifiers"];
        put?: never;
        /**
         * Fit from a task of a collection, named scans, labelled uploads, or a mix of them
         * @description ``kind: multi_label`` fits one head per label, for labels that can be present together; examples
         *     then have ``labels``, a list. Uploads are all or nothing: one unreadable image fails the
         *     request, because a classifier must be fitted from all examples that were sent.
         *     With ``Prefer: respond-async`` a fit from stored scans answers 202 with an operation to poll.
         *
         *     Scope: `classifier.write`.
         */
        post: operations["create_classifier"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a classifier from an exported JSON document of the loaded encoder
         * @description The document is checked whole before anything is stored; `invalid_artifact` names the place of
         *     a value that no export has. `signature` of the answer says who signed it; a document that was
         *     changed after it was signed is refused with `broken_signature`.
         *
         *     Scope: `classifier.write`.
         */
        post: operations["import_classifier"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one classifier with the report of its published version
         * @description ``source_changes`` counts the labels that are newer, changed or removed since that version.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["get_classifier"];
        put?: never;
        post?: never;
        /**
         * Delete one classifier with all its versions
         * @description Scope: `classifier.delete`.
         */
        delete: operations["delete_classifier"];
        options?: never;
        head?: never;
        /**
         * Let another version predict from now on; an earlier one rolls back
         * @description Scope: `classifier.publish`.
         */
        patch: operations["update_classifier"];
        trace?: never;
    };
    "/v1/classifiers/{name}/evaluate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Evaluate a version on labelled images or scans that it was not fitted from
         * @description Examples with the same image, subject or study as one it was fitted from, and near copies, are
         *     refused without ``allow_known``; so are unknown classes and unreadable images. The problem names
         *     them. With ``on_refused: leave_out`` the metrics are those of the other examples.
         *
         *     Scope: `classifier.evaluate`.
         */
        post: operations["evaluate_classifier"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/monitor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a version answers in use, against its labelled examples, and how often it was right
         * @description `reference` is null for an imported classifier, whose examples did not come with it.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["get_monitor"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/outcomes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tell what predictions turned out to be
         * @description Each outcome carries the answer that was given, because predictions are not stored. A second
         *     outcome of a prediction replaces the first, so a repeated request changes nothing.
         *
         *     Scope: `outcome.write`.
         */
        post: operations["put_outcomes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/predict": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Predict class or labels, prediction set and evidence for each item; 207 if some failed
         * @description Probabilities are calibrated on out-of-fold scores if there are enough; ``calibrated`` says
         *     whether. When the classifier abstains, ``decision`` is abstained, and ``label`` and ``called``
         *     are null.
         *
         *     Scope: `predict`.
         */
        post: operations["predict_items"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/refit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Fit a new version from the labels that the source of the classifier has now
         * @description Uploads and scans that were named stay. What was relabelled or dropped by hand stays so until
         *     the label of the scan changes. `nothing_changed` when the version has these labels already.
         *
         *     Scope: `classifier.write`.
         */
        post: operations["refit_classifier"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/review": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List labels to review: the `next` to give, `suspect` ones, or those in `conflict`
         * @description ``next``: unlabelled scans that would improve the classifier most, one per patient, without
         *     copies of what it has learnt. Without a classifier: `GET /v1/collections/{collection}/next`.
         *     ``suspect``: examples whose labels are doubted by a head that had not seen their group.
         *     ``conflict``: pairs of examples that look alike and have different labels. For a multi-label
         *     classifier, ``label`` names the label in question.
         *
         *     Scope: `classifier.read`, `scan.read`.
         */
        get: operations["review_labels"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Versions with their reports, newest first
         * @description Scope: `classifier.read`.
         */
        get: operations["list_versions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one version: its report, who made it, when, from what, and what is newer there
         * @description Scope: `classifier.read`.
         */
        get: operations["get_version"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/compare": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Compare two versions on the examples that both have, by their out-of-fold scores
         * @description ``differences`` are paired: this version minus the one named by ``with``, on the same patients,
         *     with 95 % intervals. ``verdict`` says by balanced accuracy whether this version is better;
         *     with few patients nobody can tell.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["compare_versions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/confusion": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Which class heads that had not seen its group gave to each example
         * @description For a multi-label classifier, each label has its own cells, with the classes absent and present.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["get_confusion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/examples": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The examples that a version was fitted from, with labels and groups, in that order
         * @description Scope: `classifier.read`.
         */
        get: operations["list_examples"];
        put?: never;
        /**
         * Add, relabel or drop examples of a version: a new version, published only on request
         * @description A scan or image that is already an example is relabelled. Examples whose scans were deleted
         *     or whose subjects were erased are left out; ``settings.not_kept`` gives their number.
         *
         *     Scope: `classifier.write`.
         */
        post: operations["change_examples"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export a version as JSON that can be imported, or as ONNX: embedding to probabilities
         * @description The JSON contains embeddings of examples (at most 2000), from which distances are measured; the
         *     ONNX file does not. Both contain the card: report, classes, encoder_id. The key of the workspace
         *     signs both: the JSON in its member `signature`, the ONNX file in the header `Signature-Ed25519`.
         *
         *     Scope: `classifier.export`.
         */
        get: operations["export_classifier"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/forecast": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The expected gain from 10 more patients of every class, and of the most useful class
         * @description For a multi-label classifier, each label has its own forecast, for absent and present.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["get_forecast"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/classifiers/{name}/versions/{version}/thresholds": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Find the threshold for a sensitivity or specificity, or measure a given threshold
         * @description The request has exactly one of the three; ``label`` (repeatable) selects classes or labels, by
         *     default all. Nothing is stored.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["get_thresholds"];
        put?: never;
        /**
         * Set thresholds: a new version with the same head and examples
         * @description Predictions then say for each class whether its probability reaches the threshold. The settings
         *     of the version hold each threshold with its operating point.
         *
         *     Scope: `classifier.write`.
         */
        post: operations["set_thresholds"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List collections, sorted by name
         * @description Scope: `collection.read`.
         */
        get: operations["list_collections"];
        put?: never;
        /**
         * Create a collection bound to the loaded encoder
         * @description Scope: `collection.write`.
         */
        post: operations["create_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one collection, and how it is searched
         * @description Scope: `collection.read`.
         */
        get: operations["get_collection"];
        put?: never;
        post?: never;
        /**
         * Delete a collection with all its scans
         * @description Scope: `collection.delete`.
         */
        delete: operations["delete_collection"];
        options?: never;
        head?: never;
        /**
         * Change description, retention, and whether images are kept; or confirm the expiry
         * @description Scope: `collection.write`.
         */
        patch: operations["patch_collection"];
        trace?: never;
    };
    "/v1/collections/{collection}/agreement": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Measure the agreement of two readers, whose labels are two tasks of a collection
         * @description Scope: `scan.read`.
         */
        post: operations["measure_agreement"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/duplicates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List pairs of scans that nearly repeat each other, whatever their labels
         * @description One picture under two patients comes first: an evaluation would see it on both sides, and an
         *     erasure of one patient leaves it. Different pictures may be as similar: look at each pair.
         *
         *     Scope: `scan.read`.
         */
        get: operations["list_near_duplicates"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Write a collection as Parquet into the folder of exports that the operator set
         * @description Scope: `collection.export`.
         */
        post: operations["export_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/facets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Count the scans that pass a filter, by label and attribute
         * @description Scope: `scan.read`.
         */
        post: operations["count_scans"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/import": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Import an exported collection; a missing collection is created
         * @description Refuses keys with limits to names: an export holds the scans of any collection.
         *
         *     Scope: `collection.import`.
         */
        post: operations["import_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/labels/rename": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Give a class another name in the labels of all scans, at once or not at all
         * @description Versions of classifiers keep the old name; their `source_changes` count the scans as changed,
         *     and a refit learns the new name.
         *
         *     Scope: `collection.write`.
         */
        post: operations["rename_label"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/layout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read how many scans have a place on the map, and since when; 404 when there is no layout
         * @description Scope: `collection.read`.
         */
        get: operations["get_layout"];
        put?: never;
        /**
         * Lay a collection out for its map so that scans that resemble each other lie together
         * @description Of more than 100,000 scans a drawn part gets a place. The layout replaces the one before at
         *     its end; scans that are stored later have no place until the next one.
         *
         *     Scope: `collection.write`.
         */
        post: operations["lay_out_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/map": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Place the scans of a collection on a plane
         * @description The layout `principal` is the plane of the first two principal components of the embeddings.
         *     `explained` says how much of the differences they show: what is apart on the map is apart, but
         *     what is close may still differ in other directions. On the layout `neighbours`, what is close
         *     resembles each other as often as `kept` says, and distances between groups mean little.
         *
         *     Scope: `scan.read`.
         */
        post: operations["map_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/next": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List scans to label where no classifier exists: as different as possible
         * @description Patients without a label come first, and copies of labelled scans are left out. With a
         *     classifier, its review of kind `next` knows better what would teach most.
         *
         *     Scope: `scan.read`.
         */
        get: operations["list_next_scans"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/reembed": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the progress of a re-embedding; 404 when there is none
         * @description Scope: `collection.read`.
         */
        get: operations["get_reembedding"];
        put?: never;
        /**
         * Embed the kept images of a collection with the loaded encoder
         * @description The work is done in the background; then all vectors are switched at once. Until then the
         *     collection answers 409 to searches and uploads, like any collection of another encoder. The old
         *     vectors are kept until ``DELETE`` ends the re-embedding.
         *
         *     Scope: `collection.write`.
         */
        post: operations["reembed_collection"];
        /**
         * End a re-embedding: keep the new vectors or the old ones, and drop the others
         * @description Scope: `collection.write`.
         */
        delete: operations["end_reembedding"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/scans": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List scans that pass the conditions, in the order in which they were stored
         * @description With ``sha256`` and nothing else: the scans of those files, so that a client learns which files
         *     it need not send.
         *
         *     Scope: `scan.read`.
         */
        get: operations["list_scans"];
        put?: never;
        /**
         * Embed, store and index images and clips: one result per item, 207 when some failed
         * @description Scope: `scan.write`.
         */
        post: operations["add_scans"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/scans/copy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Store scans in another collection too: one result per scan, 207 when some failed
         * @description A copy keeps id, subject, study, labels, attributes, pictures, embedding and age. Afterwards the
         *     two are apart: a label of one is not a label of the other. Erasing a patient reaches both.
         *
         *     Scope: `scan.read`, `scan.write`.
         */
        post: operations["copy_scans"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/scans/{scan_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one scan
         * @description Scope: `scan.read`.
         */
        get: operations["get_scan"];
        put?: never;
        post?: never;
        /**
         * Delete one scan; the receipt names the classifiers fitted from it
         * @description Scope: `scan.delete`.
         */
        delete: operations["delete_scan"];
        options?: never;
        head?: never;
        /**
         * Relabel one scan; null removes a label or attribute
         * @description Scope: `scan.read`, `scan.label`.
         */
        patch: operations["patch_scan"];
        trace?: never;
    };
    "/v1/collections/{collection}/scans/{scan_id}/thumbnail": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the thumbnail of a scan: a small JPEG of its pixels, without metadata
         * @description Scope: `scan.read`.
         */
        get: operations["get_thumbnail"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/collections/{collection}/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Find similar scans in one collection: the short form of POST /v1/search
         * @description Scope: `search`.
         */
        post: operations["search_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/embeddings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Embed images without storing anything; one result per image, 207 when some failed
         * @description Scope: `embed`.
         */
        post: operations["embed_images"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/encoder": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Manifest and model card of the loaded bundle
         * @description Scope: `encoder.read`.
         */
        get: operations["get_encoder"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the keys of the workspace, oldest first, revoked and expired ones included
         * @description Scope: `admin`.
         */
        get: operations["list_keys"];
        put?: never;
        /**
         * Create a key; the answer shows its secret once
         * @description A key allows at most what the key of the caller allows.
         *
         *     Scope: `admin`.
         */
        post: operations["create_key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/{key_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one key, without its secret
         * @description Scope: `admin`.
         */
        get: operations["get_key"];
        put?: never;
        post?: never;
        /**
         * Revoke a key for ever; every replica refuses its next request
         * @description Scope: `admin`.
         */
        delete: operations["revoke_key"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/keys/{key_id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create the successor of a key, with its name and rights; both work for a time
         * @description The answer shows the secret once. A key that is revoked, has expired or was rotated already
         *     answers 409.
         *
         *     Scope: `admin`.
         */
        post: operations["rotate_key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read who the key or access token is, and what it allows. Any that is valid may ask */
        get: operations["read_caller"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List operations of the workspace, newest first; ended ones are kept for 30 days
         * @description Work for the whole service (backups, deletions of workspaces) shows only with `service.admin`,
         *     the renaming of ids (`pseudonymize`) only with `admin`.
         *
         *     Scope: `operation.read`.
         */
        get: operations["list_operations"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/operations/{operation_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read state and progress of one operation, its result or its problem
         * @description Scope: `operation.read`.
         */
        get: operations["get_operation"];
        put?: never;
        post?: never;
        /**
         * Ask an operation to stop; one that has ended stays as it is
         * @description 409 for the deletion of a workspace that has begun.
         *
         *     Scope: `operation.cancel`.
         */
        delete: operations["cancel_operation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read what no client can store in the workspace, and its limits
         * @description Scope: `admin`.
         */
        get: operations["read_policy"];
        /**
         * Replace the whole policy. It holds for what is stored later; what is stored already stays
         * @description Answers kept under an Idempotency-Key are dropped. `unfit` counts the stored scans that the
         *     policy would not let in.
         *
         *     Scope: `admin`.
         */
        put: operations["replace_policy"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/policy/pseudonyms": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Give pseudonyms to the ids that were stored before the policy demanded them
         * @description The work is done in the background, over scans, uploaded examples and outcomes. Nobody gets the
         *     old ids back from the service. `left` of the result counts scans that keep theirs, because
         *     their collection has the same image under the pseudonym: delete one of the two.
         *
         *     Scope: `admin`.
         */
        post: operations["pseudonymize"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Find similar scans in one or several collections, which are ranked as one
         * @description A query is an upload, a stored scan, a vector, or positive and negative examples of these;
         *     ``queries`` holds several. Files of a form are positive examples; the ``options`` of a raw
         *     image are a query parameter.
         *
         *     Scope: `search`.
         */
        post: operations["search"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signing-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the public keys that the workspace trusts, its own included, oldest first
         * @description The first own key is made by the first export, or by `rotate`.
         *
         *     Scope: `classifier.read`.
         */
        get: operations["list_signing_keys"];
        put?: never;
        /**
         * Trust what the owner of a public key signs. A key that is trusted already answers 409
         * @description Compare `key_id` with its owner over another channel than the one that the key came by.
         *
         *     Scope: `admin`.
         */
        post: operations["trust_signing_key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signing-keys/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign with a new key from now on; the private part of the one before is overwritten
         * @description What that one signed stays trusted until it is deleted.
         *
         *     Scope: `admin`.
         */
        post: operations["rotate_signing_key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/signing-keys/{key_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one public key
         * @description Scope: `classifier.read`.
         */
        get: operations["get_signing_key"];
        put?: never;
        post?: never;
        /**
         * Trust a key no longer; imports of what it signs are `unknown_key` from now on
         * @description The key that the workspace signs with answers 409: rotate it first.
         *
         *     Scope: `admin`.
         */
        delete: operations["distrust_signing_key"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/studies": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Erase one study everywhere, as the route with the id in its path
         * @description Scope: `subject.erase`.
         */
        delete: operations["erase_study_of_query"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/studies/{study_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Erase one study everywhere; the receipt names scans and classifiers fitted from them
         * @description Scope: `subject.erase`.
         */
        delete: operations["erase_study"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/subjects": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read what is held of one patient, as the route with the id in its path
         * @description Scope: `subject.read`.
         */
        get: operations["read_subject_of_query"];
        put?: never;
        post?: never;
        /**
         * Erase one patient everywhere, as the route with the id in its path
         * @description Scope: `subject.erase`.
         */
        delete: operations["erase_subject_of_query"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/subjects/{subject_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read what the workspace holds of one patient: scans, studies, examples of classifiers
         * @description Scope: `subject.read`.
         */
        get: operations["read_subject"];
        put?: never;
        post?: never;
        /**
         * Erase one patient everywhere; the receipt names scans and classifiers fitted from them
         * @description Scope: `subject.erase`.
         */
        delete: operations["erase_subject"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read how much of its limits the own key has used; with the scope admin, the workspace too
         * @description Rates are counted by each process for itself, and what is stored by all together.
         *
         *     Scope: `usage.read`.
         */
        get: operations["read_usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the workspaces of the service, oldest first
         * @description Scope: `service.admin`.
         */
        get: operations["list_workspaces"];
        put?: never;
        /**
         * Create a workspace with a key of its administrator; the answer shows the secret once
         * @description Scope: `service.admin`.
         */
        post: operations["create_workspace"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{workspace}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read one workspace, and how much is in it
         * @description Scope: `service.admin`.
         */
        get: operations["get_workspace"];
        put?: never;
        post?: never;
        /**
         * Delete a workspace with everything in it
         * @description Its keys are unknown at once, and nothing takes the deletion back. An operation of the caller's
         *     workspace deletes the data; its result is the receipt.
         *
         *     Scope: `service.admin`.
         */
        delete: operations["delete_workspace"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{workspace}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End a suspension; waiting operations go on
         * @description Scope: `service.admin`.
         */
        post: operations["resume_workspace"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{workspace}/suspend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refuse all keys of a workspace with 403 and let its operations wait; its data stays
         * @description Scope: `service.admin`.
         */
        post: operations["suspend_workspace"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * AbstentionAnswer
         * @description Why the classifier abstained.
         */
        AbstentionAnswer: {
            /**
             * Because
             * @enum {string}
             */
            because: "blank" | "frozen" | "not_ultrasound" | "far_from_every_example" | "ambiguous";
            /**
             * Between
             * @description The two classes of an ambiguous item.
             */
            between: string[] | null;
        };
        /**
         * AddedScan
         * @description ``scan`` and whether it is new, or ``problem``.
         */
        AddedScan: {
            /**
             * Copies
             * @description Ids of scans with the same file or pixels under another subject or none.
             */
            copies?: string[] | null;
            /**
             * Created
             * @description False: the subject had this image already.
             */
            created?: boolean | null;
            /**
             * Ignored
             * @description What the upload says otherwise than the stored scan, which stays as is.
             */
            ignored?: components["schemas"]["IgnoredAnswer"][] | null;
            problem?: components["schemas"]["Problem"] | null;
            scan?: components["schemas"]["ScanAnswer"] | null;
        };
        /**
         * AddedScansAnswer
         * @description One item per image, in order.
         */
        AddedScansAnswer: {
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /** Items */
            items: components["schemas"]["AddedScan"][];
        };
        /**
         * AgreementAnswer
         * @description The agreement of two readers.
         */
        AgreementAnswer: {
            /**
             * Agreed
             * @description Share of scans with the same label.
             */
            agreed: number;
            /** Items */
            items: components["schemas"]["Disagreement"][];
            /** @description Cohen's kappa with its interval over patients; null if both used one class. */
            kappa: components["schemas"]["Interval"] | null;
            /**
             * Scans
             * @description Scans that both readers labelled.
             */
            scans: number;
        };
        /**
         * AgreementBody
         * @description Two tasks, one per reader.
         * @example {
         *       "other_task": "reader-2",
         *       "task": "reader-1"
         *     }
         */
        AgreementBody: {
            /** Other Task */
            other_task: string;
            /** Task */
            task: string;
        };
        /**
         * AttributeTest
         * @description Every named test must pass. Bounds are all numbers or all text, such as ISO dates.
         */
        AttributeTest: {
            /**
             * Exists
             * @description Whether the scan has the attribute, even null.
             */
            exists?: boolean | null;
            /** Gt */
            gt?: string | number | null;
            /** Gte */
            gte?: string | number | null;
            /** In */
            in?: (string | boolean | number | null)[] | null;
            /** Lt */
            lt?: string | number | null;
            /** Lte */
            lte?: string | number | null;
            /** Not In */
            not_in?: (string | boolean | number | null)[] | null;
        };
        /**
         * AuditAuthorAnswer
         * @description Who acted.
         */
        AuditAuthorAnswer: {
            /**
             * Id
             * @description Of the key, the subject of the token, or the user of a command.
             */
            id: string;
            /**
             * Kind
             * @enum {string}
             */
            kind: "key" | "token" | "nobody" | "unknown" | "service" | "command";
            /**
             * Roles
             * @description When it acted.
             */
            roles?: string[] | null;
        };
        /**
         * AuditEntryAnswer
         * @description One entry. Without ``sha256``, its canonical JSON (RFC 8785) is what is hashed.
         */
        AuditEntryAnswer: {
            /**
             * Action
             * @example predict_items
             */
            action: string;
            /**
             * At
             * @example 2026-11-24T09:30:00.000000Z
             */
            at: string;
            /**
             * Chain
             * @description Id of the workspace.
             */
            chain: string;
            /**
             * Code
             * @description Of the problem.
             */
            code?: string | null;
            /**
             * Counts
             * @description How many, where names are left out.
             */
            counts?: {
                [key: string]: number;
            } | null;
            /** Facts */
            facts?: {
                [key: string]: number;
            } | null;
            /**
             * Names
             * @description What it concerned, by kind; d_... is a keyed digest.
             */
            names?: {
                [key: string]: string[];
            } | null;
            /**
             * Outcome
             * @enum {string}
             */
            outcome: "begun" | "ok" | "refused" | "failed";
            /**
             * Request
             * @description The request id.
             */
            request?: string | null;
            /**
             * Seq
             * @description Number in the chain, from 1.
             */
            seq: number;
            /**
             * Sha256
             * @description Of the digest before this entry and of the entry.
             */
            sha256: string;
            /**
             * Status
             * @description Of the HTTP answer.
             */
            status?: number | null;
            /**
             * Times
             * @description How many further equal refusals are summed up.
             */
            times?: number | null;
            who: components["schemas"]["AuditAuthorAnswer"];
        };
        /**
         * AuditFindingAnswer
         * @description Something that is not as it was written.
         */
        AuditFindingAnswer: {
            /**
             * Agrees Until
             * @description Last entry before it that a noted head confirms.
             */
            agrees_until: number;
            /**
             * Kind
             * @description changed: the entry does not give its digest; missing: entries before this one are gone; cut: this one and what followed are gone; head: it differs from a noted head.
             * @enum {string}
             */
            kind: "changed" | "missing" | "cut" | "head";
            /**
             * Seq
             * @description Number of the entry.
             */
            seq: number;
        };
        /**
         * AuditPage
         * @description Entries of the workspace, newest first.
         */
        AuditPage: {
            /** Items */
            items: components["schemas"]["AuditEntryAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * AuditVerificationAnswer
         * @description What a part of the chain says of itself; ``next_cursor`` is null at its end.
         */
        AuditVerificationAnswer: {
            /**
             * Chain
             * @description Id of the workspace.
             */
            chain: string;
            /**
             * Confirmed
             * @description Last entry of this part that a noted head confirms.
             */
            confirmed: number;
            /**
             * Entries
             * @description How many were read.
             */
            entries: number;
            /**
             * Findings
             * @description At most 100.
             */
            findings: components["schemas"]["AuditFindingAnswer"][];
            /**
             * Heads
             * @description How many noted heads were compared.
             */
            heads: number;
            /**
             * Last
             * @description Number of the last entry that was read.
             */
            last: number;
            /**
             * Moved
             * @description Last entry that was moved into a file, and was not read.
             */
            moved: number;
            /** Next Cursor */
            next_cursor: string | null;
            /**
             * Restored
             * @description First and last entry that restores have lost, as entries say.
             */
            restored: [
                number,
                number
            ][];
            /**
             * Sound
             * @description Whether nothing was found in this part.
             */
            sound: boolean;
        };
        /**
         * BackupResult
         * @description The folder of the backup.
         */
        BackupResult: {
            /** Backup */
            backup: string;
        };
        /**
         * BrokenRule
         * @description One rule that a request broke, without the value.
         */
        BrokenRule: {
            /**
             * Rule
             * @example string_pattern_mismatch
             */
            rule: string;
            /** Says */
            says: string;
            /**
             * Where
             * @example body.name
             */
            where: string;
        };
        /**
         * CalibrationAnswer
         * @description How scores become probabilities: one temperature, with all classes equally frequent.
         */
        CalibrationAnswer: {
            after: components["schemas"]["ReliabilityAnswer"] | null;
            /** @description Out of fold, at temperature 1. */
            before: components["schemas"]["ReliabilityAnswer"] | null;
            /** Groups */
            groups: number;
            /**
             * Missing Groups
             * @description Groups that a temperature still needs.
             */
            missing_groups: number;
            /** Not Calibrated Because */
            not_calibrated_because: string | null;
            /** Temperature */
            temperature: number;
        };
        /**
         * CallerAnswer
         * @description Who the caller is, and what the key or access token allows.
         */
        CallerAnswer: {
            /**
             * Classifiers
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            classifiers: string[] | null;
            /**
             * Collections
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            collections: string[] | null;
            /**
             * Expires At
             * @description Null: never.
             * @example 2026-11-24T09:30:00.000000Z
             */
            expires_at: string | null;
            /**
             * Key Id
             * @description Of a token: a digest of issuer and subject.
             */
            key_id: string | null;
            /**
             * Kind
             * @description nobody: the service asks for no key, and everybody may do everything.
             * @enum {string}
             */
            kind: "key" | "token" | "nobody";
            /**
             * Name
             * @description Of the key; of a token, its subject and issuer.
             */
            name: string | null;
            /** Roles */
            roles: string[];
            /**
             * Scopes
             * @description All that it may do, those of its roles included.
             */
            scopes: string[];
            /**
             * Workspace
             * @example default
             */
            workspace: string;
        };
        /**
         * CinePrediction
         * @description The prediction for all items as frames of one cine.
         */
        CinePrediction: {
            abstained: components["schemas"]["AbstentionAnswer"] | null;
            /**
             * Decision
             * @enum {string}
             */
            decision: "called" | "abstained";
            /**
             * Distance
             * @description Distance to the nearest example, 1 - cosine.
             */
            distance: number | null;
            /**
             * Distance Percentile
             * @description Percentage of the examples whose own distance is smaller.
             */
            distance_percentile: number | null;
            /**
             * Frames
             * @description Only for a clip or cine, in order.
             */
            frames: components["schemas"]["FrameAnswer"][] | null;
            heatmap: components["schemas"]["HeatmapAnswer"] | null;
            /**
             * Key Frames
             * @description Only for a clip or cine: the frames that explain each output.
             */
            key_frames: components["schemas"]["KeyFramesAnswer"][] | null;
            /**
             * Label
             * @description The called class, of several the one that exceeds its threshold most; null when abstained, when thresholds call no class, and for a multi-label classifier.
             * @example benign
             */
            label: string | null;
            /**
             * Left Out
             * @description Numbers of the items that failed.
             */
            left_out: number[];
            /**
             * Most Probable
             * @description Most probable class or label, also when abstained.
             */
            most_probable: string;
            /** Nearest */
            nearest: components["schemas"]["NearestExample"][];
            /**
             * No Heatmap Because
             * @description Null unless a heat map was requested and there is none.
             */
            no_heatmap_because: string | null;
            /**
             * Outputs
             * @description Every class or label, in order.
             */
            outputs: components["schemas"]["OutputAnswer"][];
            /**
             * Prediction Id
             * @description Names this prediction in an outcome; predictions are not stored.
             * @example prd_5f2b1c0d9e8a74630011
             */
            prediction_id: string;
            /**
             * Prediction Set
             * @description Classes or labels that can be true at the coverage; null: too few examples.
             */
            prediction_set: string[] | null;
            /**
             * Ultrasound Score
             * @description Logit, above 0 for ultrasound; null when the encoder cannot tell.
             */
            ultrasound_score: number | null;
        };
        /**
         * ClassMetricsAnswer
         * @description Metrics of held-out scores for a class.
         */
        ClassMetricsAnswer: {
            auroc: components["schemas"]["Interval"] | null;
            /** Examples */
            examples: number;
            /** Groups */
            groups: number;
            /**
             * Missing Groups
             * @description Groups that the metrics still need.
             */
            missing_groups: number;
            /** Name */
            name: string;
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            precision: components["schemas"]["Interval"] | null;
            recall: components["schemas"]["Interval"] | null;
        };
        /**
         * ClassifierAnswer
         * @description A classifier, with the report of its published version.
         */
        ClassifierAnswer: {
            /**
             * Accuracy
             * @description Of its predictions, its calibration and its report: high = with seven views.
             * @enum {string}
             */
            accuracy: "standard" | "high";
            /**
             * Calibrated
             * @description Whether every label is; the report gives the reason.
             */
            calibrated: boolean;
            /**
             * Classes
             * @description Classes or labels.
             * @example [
             *       "benign",
             *       "malignant"
             *     ]
             */
            classes: string[];
            /** Classifier Id */
            classifier_id: string;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Etag
             * @example "1"
             */
            etag: string;
            /**
             * Kind
             * @enum {string}
             */
            kind: "single_label" | "multi_label";
            /** Latest Version */
            latest_version: number;
            /**
             * Name
             * @example finding
             */
            name: string;
            /**
             * Published Version
             * @description The version that predicts.
             */
            published_version: number;
            /** @description Null for an import without a report. */
            report: components["schemas"]["VersionReport"] | null;
            /** @description Of the document of an import, when it was imported; null for a fit. */
            signature: components["schemas"]["SignatureAnswer"] | null;
            /** @description Null for an import, for a version of release 0.1.0, and for a collection that the key may not name. */
            source: components["schemas"]["SourceAnswer"] | null;
            /** @description Counted when one classifier or version is read; null in other responses, and without labels of a collection. */
            source_changes: components["schemas"]["SourceChangesAnswer"] | null;
        };
        /**
         * ClassifierImportBody
         * @description A classifier that was exported as JSON, and its name here.
         * @example {
         *       "classifier": {
         *         "format": "sonoprobe-classifier",
         *         "format_version": 1,
         *         "heads": []
         *       },
         *       "name": "finding"
         *     }
         */
        ClassifierImportBody: {
            /** Classifier */
            classifier: {
                [key: string]: unknown;
            };
            /** Name */
            name: string;
        };
        /**
         * ClassifierPage
         * @description Classifiers, sorted by name.
         */
        ClassifierPage: {
            /** Items */
            items: components["schemas"]["ClassifierAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * ClassifierPatchBody
         * @description The version that predicts from now on; an earlier one rolls back.
         * @example {
         *       "published_version": 2
         *     }
         */
        ClassifierPatchBody: {
            /** Published Version */
            published_version: number;
        };
        /**
         * CollectionAnswer
         * @description A collection of scans, bound to one encoder.
         */
        CollectionAnswer: {
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /** Description */
            description: string;
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Etag
             * @example "1"
             */
            etag: string;
            /** @description Null for a collection of another encoder. */
            index: components["schemas"]["IndexAnswer"] | null;
            intake: components["schemas"]["IntakeAnswer"];
            /** Keep Images */
            keep_images: boolean;
            /**
             * Name
             * @example liver
             */
            name: string;
            /** Retention Days */
            retention_days: number | null;
            /**
             * Retention Held
             * @description Scans past retention_days that the last sweep did not delete, because too many were due at once; confirm_retention deletes them.
             */
            retention_held: number;
            /** Scans */
            scans: number;
        };
        /**
         * CollectionChangeBody
         * @description Change a collection, or confirm its expiry.
         * @example {
         *       "keep_images": true,
         *       "retention_days": 365
         *     }
         */
        CollectionChangeBody: {
            /**
             * Confirm Retention
             * @description Delete now all scans that are past retention_days, also those that the sweep held back because they are many.
             * @default false
             */
            confirm_retention?: boolean;
            /**
             * Description
             * @default
             */
            description?: string;
            /**
             * Keep Images
             * @description Keep the embedded pixels of new scans, without metadata, for a later encoder; false deletes those that were kept.
             * @default false
             */
            keep_images?: boolean;
            /**
             * Retention Days
             * @description Older scans are deleted; null means never.
             */
            retention_days?: number | null;
        };
        /**
         * CollectionDeleted
         * @description What was deleted, with its number of scans.
         */
        CollectionDeleted: {
            /** Deleted */
            deleted: string;
            /** Scans */
            scans: number;
        };
        /**
         * CollectionImportBody
         * @description Where to read an export from.
         * @example {
         *       "from": "liver-2026"
         *     }
         */
        CollectionImportBody: {
            /**
             * From
             * @description A name in the workspace's folder of exports.
             */
            from: string;
        };
        /**
         * CollectionPage
         * @description Collections, sorted by name.
         */
        CollectionPage: {
            /** Items */
            items: components["schemas"]["CollectionAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * ComparedVersion
         * @description One side of a comparison.
         */
        ComparedVersion: {
            /**
             * Balanced Accuracy
             * @description Mean over labels.
             */
            balanced_accuracy: number | null;
            /**
             * Items
             * @description One per label; exactly one for a single-label classifier.
             */
            items: components["schemas"]["LabelMetricsAnswer"][];
            /** Version */
            version: number;
        };
        /**
         * ComparisonAnswer
         * @description Two versions on the same examples, by their out-of-fold scores.
         */
        ComparisonAnswer: {
            /** Classifier */
            classifier: string;
            /**
             * Differences
             * @description First minus second, per metric: of the classifier, then of each label.
             */
            differences: components["schemas"]["DifferenceAnswer"][];
            first: components["schemas"]["ComparedVersion"];
            /**
             * Groups
             * @description Patients (else studies or images) that both scored.
             */
            groups: number;
            /**
             * Only First
             * @description Examples that only the first version has.
             */
            only_first: number;
            /** Only Second */
            only_second: number;
            /**
             * Other Label
             * @description Examples of both, under different labels.
             */
            other_label: number;
            second: components["schemas"]["ComparedVersion"];
            /**
             * Shared Examples
             * @description Examples that both have, under the same label.
             */
            shared_examples: number;
            /**
             * Verdict
             * @description Whether the first is better than the second.
             * @enum {string}
             */
            verdict: "better" | "worse" | "cannot_tell";
        };
        /**
         * ConfidenceBinAnswer
         * @description Answered outcomes whose probability lies between ``low`` and ``high``.
         */
        ConfidenceBinAnswer: {
            /** High */
            high: number;
            /** Low */
            low: number;
            /** Mean Confidence */
            mean_confidence: number | null;
            /** Predictions */
            predictions: number;
            /** Right */
            right: number;
        };
        /**
         * ConformalAnswer
         * @description How prediction sets are made.
         */
        ConformalAnswer: {
            /**
             * Items
             * @description Independent examples.
             */
            items: number;
            /**
             * Method
             * @enum {string}
             */
            method: "lac" | "aps";
        };
        /**
         * ConfusionAnswer
         * @description Cells that hold examples, in the order of the true classes.
         */
        ConfusionAnswer: {
            /**
             * Classes
             * @description Classes, or labels that are each absent or present.
             */
            classes: string[];
            /** Classifier */
            classifier: string;
            /** Items */
            items: components["schemas"]["ConfusionCellAnswer"][];
            /**
             * Scored
             * @description Examples that have out-of-fold scores.
             */
            scored: number;
            /** Version */
            version: number;
        };
        /**
         * ConfusionCellAnswer
         * @description Examples of one class to which heads that had not seen their groups gave one class.
         */
        ConfusionCellAnswer: {
            /**
             * Actual
             * @description Class by the label of the example.
             */
            actual: string;
            /** Count */
            count: number;
            /**
             * Examples
             * @description The first `limit` examples.
             */
            examples: components["schemas"]["ExampleSummary"][];
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            /** Predicted */
            predicted: string;
        };
        /**
         * CopiedScan
         * @description What became of one scan: its copy, or ``problem``.
         */
        CopiedScan: {
            /**
             * Copy Id
             * @description Id in the other collection: the same, unless it had the image before.
             */
            copy_id?: string | null;
            /**
             * Created
             * @description False: the collection had this image of this subject already.
             */
            created?: boolean | null;
            /**
             * Ignored
             * @description What the scan says otherwise than the one there, which stays as is.
             */
            ignored?: components["schemas"]["IgnoredAnswer"][] | null;
            problem?: components["schemas"]["Problem"] | null;
            /**
             * Scan Id
             * @description Of the scan that was to be copied.
             * @example scan-1
             */
            scan_id: string;
        };
        /**
         * CopiedScansAnswer
         * @description One item per scan, in order.
         */
        CopiedScansAnswer: {
            /**
             * Created
             * @description Number of scans that are new in the other collection.
             */
            created: number;
            /**
             * Failed
             * @description Number of scans that were not copied.
             */
            failed: number;
            /** Items */
            items: components["schemas"]["CopiedScan"][];
            /**
             * Known
             * @description Number of scans that it had already.
             */
            known: number;
            /**
             * To
             * @example liver-masses
             */
            to: string;
        };
        /**
         * CopyScansBody
         * @description Scans of a collection to store in another one too.
         * @example {
         *       "scan_ids": [
         *         "scan-1",
         *         "scan-2"
         *       ],
         *       "to": "liver-masses"
         *     }
         */
        CopyScansBody: {
            /** Scan Ids */
            scan_ids: string[];
            /**
             * To
             * @description A collection that exists, not the one of the scans.
             */
            to: string;
        };
        /**
         * CorrectionAnswer
         * @description A statement of the file that its own content contradicts, and that was not believed.
         */
        CorrectionAnswer: {
            /**
             * Declared
             * @description By the file; null when it gives no number.
             */
            declared: number | null;
            /**
             * Fact
             * @enum {string}
             */
            fact: "alpha" | "colour_space" | "frame_count" | "frame_rate" | "frame_times" | "pixel_shape" | "regions" | "spacing" | "window";
            /**
             * Used
             * @description Instead; null when nothing was used.
             */
            used: number | null;
        };
        /**
         * CreatedBy
         * @description The API key or access token that created a version; nulls when the service requires none.
         */
        CreatedBy: {
            /**
             * Key Id
             * @description Of an access token: oidc_ and a digest of its issuer and subject.
             */
            key_id: string | null;
            /**
             * Name
             * @description Of an access token: its subject and issuer.
             */
            name: string | null;
        };
        /**
         * CrossFitted
         * @description Metrics of thresholds that were chosen without the patients they are measured on.
         */
        CrossFitted: {
            sensitivity: components["schemas"]["Interval"];
            specificity: components["schemas"]["Interval"];
        };
        /**
         * CurvePointAnswer
         * @description Balanced accuracy on other groups, for heads fitted from so many groups per class.
         */
        CurvePointAnswer: {
            /** Balanced Accuracy */
            balanced_accuracy: number;
            /** Groups Per Class */
            groups_per_class: number;
        };
        /**
         * Deleted
         * @description What was deleted.
         */
        Deleted: {
            /** Deleted */
            deleted: string;
        };
        /**
         * DeviceAnswer
         * @description The device, as far as the file names it; unknown fields are empty.
         */
        DeviceAnswer: {
            /**
             * Depth Mm
             * @description DepthOfScanField.
             */
            depth_mm: number | null;
            /** Manufacturer */
            manufacturer: string;
            /** Model */
            model: string;
            /** Transducer */
            transducer: string;
        };
        /**
         * DifferenceAnswer
         * @description A metric of the first version minus that of the second, on the same patients.
         */
        DifferenceAnswer: {
            /** Cannot Tell Because */
            cannot_tell_because: string | null;
            /**
             * Groups
             * @description Patients (else studies or images) of those examples.
             */
            groups: number;
            /** High */
            high: number | null;
            /**
             * Label
             * @description Of a multi-label classifier; null: the mean over its labels, or the single-label classifier.
             */
            label: string | null;
            /**
             * Low
             * @description Ends of the 95 % interval: paired bootstrap over patients.
             */
            low: number | null;
            /**
             * Metric
             * @enum {string}
             */
            metric: "balanced_accuracy" | "auroc" | "log_loss";
            /**
             * Scored
             * @description Examples that both versions scored.
             */
            scored: number;
            /**
             * Smallest Class Groups
             * @description Patients of the class that has the fewest.
             */
            smallest_class_groups: number;
            /**
             * Value
             * @description Null when no two classes were scored.
             */
            value: number | null;
            /**
             * Verdict
             * @description Whether the first is better than the second.
             * @enum {string}
             */
            verdict: "better" | "worse" | "cannot_tell";
        };
        /**
         * Disagreement
         * @description A scan that two readers labelled differently.
         */
        Disagreement: {
            /**
             * Label
             * @description Label by the reader of `task`.
             */
            label: string;
            /** Other Label */
            other_label: string;
            /** Scan Id */
            scan_id: string;
            /**
             * Thumbnail
             * @description Path of a small JPEG.
             */
            thumbnail: string | null;
        };
        /**
         * EmbeddingItem
         * @description ``embedding`` and ``image``, or ``problem``.
         */
        EmbeddingItem: {
            /**
             * Embedding
             * @description Numbers, or base64 of little-endian values; int8 is value x 127.
             */
            embedding?: number[] | string | null;
            /** Frames */
            frames?: components["schemas"]["FrameEmbeddingAnswer"][] | null;
            image?: components["schemas"]["ImageAnswer"] | null;
            problem?: components["schemas"]["Problem"] | null;
        };
        /**
         * EmbeddingOptions
         * @description How to embed and to write numbers: query parameters, or the ``options`` of a form.
         */
        EmbeddingOptions: {
            /**
             * Dtype
             * @default float32
             * @enum {string}
             */
            dtype?: "float32" | "float16" | "int8";
            /**
             * Encoding Format
             * @default float
             * @enum {string}
             */
            encoding_format?: "float" | "base64";
            /**
             * Frames
             * @description Frames of a clip to use: all, uniform:N, fps:F or different:N; the settings hold the default.
             */
            frames?: string | null;
            /**
             * Pool
             * @description none also returns the embedding of each used frame of a clip.
             * @default mean
             * @enum {string}
             */
            pool?: "mean" | "none";
            /**
             * Region
             * @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default.
             */
            region?: string | null;
        };
        /**
         * EmbeddingsAnswer
         * @description One item per image, in order.
         */
        EmbeddingsAnswer: {
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Dtype
             * @enum {string}
             */
            dtype: "float32" | "float16" | "int8";
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Encoding Format
             * @enum {string}
             */
            encoding_format: "float" | "base64";
            /** Items */
            items: components["schemas"]["EmbeddingItem"][];
        };
        /**
         * EmbeddingsBody
         * @description Images as JSON; fields override the query parameters.
         * @example {
         *       "dtype": "int8",
         *       "encoding_format": "base64",
         *       "images": [
         *         "iVBORw0KGgo..."
         *       ]
         *     }
         */
        EmbeddingsBody: {
            /** Dtype */
            dtype?: ("float32" | "float16" | "int8") | null;
            /** Encoding Format */
            encoding_format?: ("float" | "base64") | null;
            /** Frames */
            frames?: string | null;
            /** Images */
            images: string[];
            /** Pool */
            pool?: ("mean" | "none") | null;
            /** Region */
            region?: string | null;
        };
        /**
         * EncoderAnswer
         * @description The loaded bundle.
         */
        EncoderAnswer: {
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /** Manifest */
            manifest: {
                [key: string]: unknown;
            } | null;
            /**
             * Model Card
             * @description Markdown.
             */
            model_card: string;
        };
        /**
         * ErasedScan
         * @description A scan of a receipt.
         */
        ErasedScan: {
            /** Collection */
            collection: string;
            /** Scan Id */
            scan_id: string;
        };
        /**
         * ErasureAnswer
         * @description What was erased, and which classifiers were fitted from it.
         */
        ErasureAnswer: {
            /**
             * Backups Know
             * @description Whether the erasure is written beside the backups; false: it will be as soon as the folder can be written; null: the service makes no backups.
             */
            backups_know: boolean | null;
            /**
             * Classifiers
             * @description Classifiers fitted from them; they stay.
             */
            classifiers: string[];
            /**
             * Copies
             * @description Scans that stay although they have the same file or pixels, at most 100: they are of another subject, or of none.
             */
            copies: components["schemas"]["ErasedScan"][];
            /** @description The refit, if requested. */
            operation?: components["schemas"]["OperationAnswer"] | null;
            /** Scans */
            scans: components["schemas"]["ErasedScan"][];
            /**
             * Uploads
             * @description Erased examples that were never stored as scans.
             */
            uploads: number;
        };
        /**
         * EvaluationAnswer
         * @description Metrics on held-out examples.
         */
        EvaluationAnswer: {
            /**
             * Balanced Accuracy
             * @description Mean over labels.
             */
            balanced_accuracy: number | null;
            /** Calibrated */
            calibrated: boolean;
            /** Classifier */
            classifier: string;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Examples
             * @description Number of different images.
             */
            examples: number;
            /**
             * Items
             * @description One per label; exactly one for a single-label classifier.
             */
            items: components["schemas"]["LabelMetricsAnswer"][];
            /**
             * Known Examples
             * @description Examples that the version was fitted from.
             */
            known_examples: number;
            /**
             * Left Out
             * @description Examples that were refused; the metrics are of the rest.
             */
            left_out: number;
            /**
             * Refused
             * @description The first 50 of those left out.
             */
            refused: components["schemas"]["RefusedExampleAnswer"][];
            /** Version */
            version: number;
        };
        /**
         * EvaluationBody
         * @description Labelled scans and images to evaluate a version on.
         * @example {
         *       "collection": "liver",
         *       "filter": {},
         *       "task": "finding"
         *     }
         */
        EvaluationBody: {
            /**
             * Allow Known
             * @description Accept examples that the version was fitted from.
             * @default false
             */
            allow_known?: boolean;
            /** Collection */
            collection?: string | null;
            /** Examples */
            examples?: components["schemas"]["LabelledExample"][];
            /** @description Restricts the scans of the task. */
            filter?: components["schemas"]["FilterBody"];
            /**
             * On Refused
             * @description leave_out: evaluate on the rest, and say which examples were left out.
             * @default fail
             * @enum {string}
             */
            on_refused?: "fail" | "leave_out";
            /**
             * Task
             * @description Use every scan with a label for this task.
             */
            task?: string | null;
            /**
             * Tasks
             * @description Multi-label: task -> value that means present; scans with all these tasks.
             */
            tasks?: {
                [key: string]: string;
            };
        };
        /**
         * ExampleAnswer
         * @description An example that a version was fitted from.
         */
        ExampleAnswer: {
            /** Collection */
            collection: string | null;
            /** Example Id */
            example_id: string;
            /**
             * Group
             * @description Equal numbers: same patient, study or image.
             */
            group: number;
            /**
             * Kept
             * @description False once its scan was deleted or its subject erased.
             */
            kept: boolean;
            /**
             * Label
             * @description Its class; null for a multi-label classifier.
             */
            label: string | null;
            /**
             * Labels
             * @description Only for a multi-label classifier; else null.
             */
            labels: string[] | null;
            /**
             * Scan Id
             * @description Null for an upload.
             */
            scan_id: string | null;
            /**
             * Sha256
             * @description Of the image; null once its subject was erased.
             */
            sha256: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG; null for an upload.
             */
            thumbnail: string | null;
        };
        /**
         * ExampleChangesBody
         * @description How the next version differs: at least one change.
         *
         *     Scans and images in ``examples`` that the version already has are relabelled.
         * @example {
         *       "collection": "liver",
         *       "drop": [
         *         {
         *           "collection": "liver",
         *           "scan_id": "scan-2"
         *         }
         *       ],
         *       "examples": [
         *         {
         *           "label": "benign",
         *           "scan_id": "scan-7"
         *         }
         *       ],
         *       "publish": true,
         *       "relabel": [
         *         {
         *           "example_id": "exm_0b1e9f",
         *           "label": "malignant"
         *         }
         *       ]
         *     }
         */
        ExampleChangesBody: {
            /**
             * Class Weights
             * @description Class or label -> weight. Null: balanced, or as in the version before.
             */
            class_weights?: "balanced" | {
                [key: string]: number;
            } | null;
            /** Collection */
            collection?: string | null;
            /**
             * Counted
             * @description groups: frames of one patient and class count once together; frames: each frame counts. Null: groups, or as in the version before.
             */
            counted?: ("groups" | "frames") | null;
            /** Drop */
            drop?: components["schemas"]["ExampleReference"][];
            /** Examples */
            examples?: components["schemas"]["LabelledExample"][];
            /** @description Restricts the scans of the task. */
            filter?: components["schemas"]["FilterBody"];
            /**
             * Publish
             * @description Publish the new version at once.
             * @default false
             */
            publish?: boolean;
            /** Relabel */
            relabel?: components["schemas"]["RelabelledExample"][];
            /**
             * Task
             * @description Use every scan with a label for this task.
             */
            task?: string | null;
            /**
             * Tasks
             * @description Multi-label: task -> value that means present; scans with all these tasks.
             */
            tasks?: {
                [key: string]: string;
            };
            /**
             * Thresholds
             * @description Multi-label: label -> threshold of its probability; 0.5 by default.
             */
            thresholds?: {
                [key: string]: number;
            } | null;
            /** @description Null: none, or the scans of the version before. */
            unlabelled?: components["schemas"]["UnlabelledBody"] | null;
            /**
             * Views
             * @description true: fit to seven views of each example and predict with accuracy high, which takes seven times as long. examples: fit to the views and predict without. Scans need kept images. auto: examples where SONOPROBE_MAX_DEFAULT_VIEWS allows it and all examples have views; else false. Null: auto, or as in the version before.
             */
            views?: boolean | ("examples" | "auto") | null;
        };
        /**
         * ExamplePage
         * @description Examples in the order in which they were fitted.
         */
        ExamplePage: {
            /** Items */
            items: components["schemas"]["ExampleAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * ExampleReference
         * @description An example of a classifier: by ``example_id``, or by ``collection`` and ``scan_id``.
         */
        ExampleReference: {
            /** Collection */
            collection?: string | null;
            /** Example Id */
            example_id?: string | null;
            /** Scan Id */
            scan_id?: string | null;
        };
        /**
         * ExampleSummary
         * @description An example and its scan; an upload has no scan.
         */
        ExampleSummary: {
            /** Collection */
            collection: string | null;
            /** Example Id */
            example_id: string;
            /**
             * Scan Id
             * @description Null for an upload.
             */
            scan_id: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG; null for an upload.
             */
            thumbnail: string | null;
        };
        /**
         * ExportBody
         * @description Where to write an export.
         * @example {
         *       "to": "liver-2026"
         *     }
         */
        ExportBody: {
            /**
             * To
             * @description A new name in the workspace's folder of exports.
             */
            to: string;
        };
        /**
         * ExportResult
         * @description The export; ``scans`` is missing if an earlier attempt wrote it.
         */
        ExportResult: {
            /** Export */
            export: string;
            /** Scans */
            scans?: number | null;
        };
        /**
         * FacetAnswer
         * @description Values of one task or attribute, commonest first.
         */
        FacetAnswer: {
            /**
             * Missing
             * @description Scans that pass the filter and lack the task or attribute.
             */
            missing: number;
            /**
             * Others
             * @description Scans with a value that the limit left out.
             */
            others: number;
            /** Values */
            values: components["schemas"]["FacetValue"][];
        };
        /**
         * FacetValue
         * @description A value and how many scans have it.
         */
        FacetValue: {
            /** Scans */
            scans: number;
            /** Value */
            value: unknown;
        };
        /**
         * FacetsAnswer
         * @description Counts over the scans that pass the filter.
         */
        FacetsAnswer: {
            /** Attributes */
            attributes: {
                [key: string]: components["schemas"]["FacetAnswer"];
            };
            /** Labels */
            labels: {
                [key: string]: components["schemas"]["FacetAnswer"];
            };
            /** Scans */
            scans: number;
            /** Studies */
            studies: number;
            /** Subjects */
            subjects: number;
        };
        /**
         * FacetsBody
         * @description Which tasks and attributes to count.
         * @example {
         *       "attributes": [
         *         "device"
         *       ],
         *       "filter": {
         *         "subject_id": {
         *           "exists": true
         *         }
         *       },
         *       "labels": [
         *         "finding"
         *       ],
         *       "limit": 10
         *     }
         */
        FacetsBody: {
            /** Attributes */
            attributes?: string[];
            filter?: components["schemas"]["FilterBody"];
            /**
             * Labels
             * @description Tasks whose classes are counted; null: the commonest 64.
             */
            labels?: string[] | null;
            /**
             * Limit
             * @description Most values of each task or attribute, commonest first.
             * @default 20
             */
            limit?: number;
        };
        /**
         * FailedItem
         * @description An image that could not be predicted.
         */
        FailedItem: {
            problem: components["schemas"]["Problem"];
        };
        /**
         * FigureTestAnswer
         * @description A figure of a window: mean deviation from the reference, and its limit.
         */
        FigureTestAnswer: {
            /** Alarms */
            alarms: boolean;
            /** Deviation */
            deviation: number;
            /**
             * Figure
             * @enum {string}
             */
            figure: "similarity" | "confidence" | "abstentions";
            /**
             * Limit
             * @description Similarity and confidence alarm below it, abstentions above.
             */
            limit: number;
        };
        /**
         * FilterBody
         * @description Conditions that must all hold; a list of values means any of them, and has at least one.
         *
         *     ``and``, ``or`` and ``not`` hold further filters: at most 8 deep, 100 conditions, 20,000 values.
         * @example {
         *       "attributes": {
         *         "age": {
         *           "gte": 40,
         *           "lt": 60
         *         },
         *         "device": {
         *           "exists": true
         *         }
         *       },
         *       "created_at": {
         *         "gte": "2026-01-01"
         *       },
         *       "labels": {
         *         "finding": [
         *           "benign",
         *           "malignant"
         *         ]
         *       },
         *       "not": {
         *         "or": [
         *           {
         *             "subject_id": "p1"
         *           },
         *           {
         *             "study_id": {
         *               "exists": false
         *             }
         *           }
         *         ]
         *       }
         *     }
         */
        FilterBody: {
            /** And */
            and?: components["schemas"]["FilterBody"][] | null;
            /** Attributes */
            attributes?: {
                [key: string]: string | boolean | number | (string | boolean | number | null)[] | components["schemas"]["AttributeTest"] | null;
            };
            created_at?: components["schemas"]["TimeRange"] | null;
            /** Labels */
            labels?: {
                [key: string]: string | string[] | components["schemas"]["Presence"];
            };
            not?: components["schemas"]["FilterBody"] | null;
            /** Not Study Id */
            not_study_id?: string | string[] | null;
            /** Not Subject Id */
            not_subject_id?: string | string[] | null;
            /** Or */
            or?: components["schemas"]["FilterBody"][] | null;
            /** Study Id */
            study_id?: string | string[] | components["schemas"]["Presence"] | null;
            /** Subject Id */
            subject_id?: string | string[] | components["schemas"]["Presence"] | null;
            updated_at?: components["schemas"]["TimeRange"] | null;
        };
        /**
         * FitResult
         * @description The classifier that was fitted.
         */
        FitResult: {
            /** Classifier */
            classifier: string;
            /**
             * Location
             * @example /v1/classifiers/finding
             */
            location: string;
        };
        /**
         * ForecastAnswer
         * @description The expected gain from more examples.
         */
        ForecastAnswer: {
            /** Classifier */
            classifier: string;
            /**
             * Items
             * @description One per label; exactly one for a single-label classifier.
             */
            items: components["schemas"]["LabelForecast"][];
            /** Version */
            version: number;
        };
        /**
         * ForecastReport
         * @description Balanced accuracy against groups per class, and beyond.
         */
        ForecastReport: {
            /** Curve */
            curve: components["schemas"]["CurvePointAnswer"][];
            /** Gain */
            gain: number | null;
            /**
             * Gain 90
             * @description Interval over repeats.
             */
            gain_90: number[] | null;
            /**
             * Gain Per Class
             * @description Class -> gain from more groups of it alone.
             */
            gain_per_class: {
                [key: string]: components["schemas"]["GainAnswer"];
            };
            /** Missing Groups */
            missing_groups: {
                [key: string]: number;
            };
            /** More Groups Per Class */
            more_groups_per_class: number;
            /** Most Useful Class */
            most_useful_class: string | null;
            /** Not Forecast Because */
            not_forecast_because: string | null;
            /** Now */
            now: number | null;
            /** Weakest Class */
            weakest_class: string | null;
            /**
             * With More
             * @description Expected with that many more groups of every class.
             */
            with_more: number | null;
        };
        /**
         * FrameAnswer
         * @description A frame of a cine.
         */
        FrameAnswer: {
            /**
             * Copies
             * @description Number of frames that it represents, itself included.
             */
            copies: number;
            /**
             * Index
             * @description Number of the item in the request, or of the frame in its file.
             */
            index: number;
            /** Outputs */
            outputs: components["schemas"]["FrameOutputAnswer"][];
            /**
             * Region
             * @description Number of the region in the image's list, from 0.
             */
            region: number;
        };
        /**
         * FrameEmbeddingAnswer
         * @description A used frame of a clip, or a region of a frame; only with `pool=none`.
         */
        FrameEmbeddingAnswer: {
            /** Embedding */
            embedding: number[] | string;
            /**
             * Index
             * @description Number of the frame in the file.
             */
            index: number;
            /**
             * Region
             * @description Number of the region in the image's list, from 0.
             */
            region: number;
            /**
             * Time S
             * @description Time since the first frame of the file.
             */
            time_s: number | null;
        };
        /**
         * FrameOutputAnswer
         * @description The contribution of a frame to an output of its cine.
         */
        FrameOutputAnswer: {
            /**
             * Contribution
             * @description Evidence for the output rather than for the others.
             */
            contribution: number;
            /**
             * Image Logit
             * @description The mean over frames is the image_logit of the cine.
             */
            image_logit: number;
            /** Label */
            label: string;
            /**
             * Probability
             * @description Probability from the frame alone.
             */
            probability: number;
        };
        /**
         * GainAnswer
         * @description The expected gain from more groups of one class.
         */
        GainAnswer: {
            /** Gain */
            gain: number;
            /**
             * Gain 90
             * @description Interval over repeats.
             */
            gain_90: number[];
        };
        /**
         * GroupingAnswer
         * @description How examples were grouped.
         */
        GroupingAnswer: {
            /**
             * Joined By Similarity
             * @description Examples without ids that copy another.
             */
            joined_by_similarity: number;
            /**
             * Similarity
             * @description Cosine from which an example is a copy; null: not checked.
             */
            similarity: number | null;
            /**
             * Without Ids
             * @description Examples without subject and study.
             */
            without_ids: number;
        };
        /**
         * HeadReportAnswer
         * @description Grouped cross-validation of a label, or of a single-label classifier.
         */
        HeadReportAnswer: {
            /** Balanced Accuracy */
            balanced_accuracy: number | null;
            /** C Chosen By */
            c_chosen_by: string;
            calibration: components["schemas"]["CalibrationAnswer"];
            /** Chance */
            chance: number;
            /** Class Weights */
            class_weights: {
                [key: string]: number;
            } | null;
            /** Classes */
            classes: string[];
            conformal: components["schemas"]["ConformalAnswer"];
            /** Confusion */
            confusion: number[][] | null;
            /**
             * Effective Examples
             * @description Frames of one group and class count once.
             */
            effective_examples: number;
            /** Examples Per Class */
            examples_per_class: {
                [key: string]: number;
            };
            forecast: components["schemas"]["ForecastReport"];
            /** Groups */
            groups: number;
            /** Groups Per Class */
            groups_per_class: {
                [key: string]: number;
            };
            /** Interval 95 */
            interval_95: number[] | null;
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            /** Margin Chosen By */
            margin_chosen_by: string;
            metrics: components["schemas"]["MetricsAnswer"];
            /** Min Margin */
            min_margin: number;
            /** N Folds */
            n_folds: number;
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            /** Recall Per Class */
            recall_per_class: {
                [key: string]: number;
            } | null;
            /** Regularisation C */
            regularisation_c: number;
            /** Thresholds */
            thresholds: components["schemas"]["ThresholdAnswer"][];
            /** @description Null: the fit was given no unlabelled scans. */
            unlabelled?: components["schemas"]["UnlabelledAnswer"] | null;
            /** Warnings */
            warnings: string[];
        };
        /**
         * HeatmapAnswer
         * @description Where the probabilities come from.
         *
         *     They are the softmax over the classes of (image_logit + bias) / temperature; for a label, the
         *     sigmoid of the same.
         */
        HeatmapAnswer: {
            /**
             * Box
             * @description x0, y0, x1, y1 in pixels of the frame, half open: the used region.
             * @example [
             *       120,
             *       60,
             *       800,
             *       518
             *     ]
             */
            box: number[];
            /** Columns */
            columns: number;
            /**
             * Label
             * @description Class or label that the PNG shows.
             */
            label: string;
            /** Outputs */
            outputs: components["schemas"]["HeatmapOutput"][];
            /**
             * Png
             * @description Base64: a transparent picture to lay over the frame, of its width and height (of at most 4,096 px). Orange is evidence for the class rather than for the others, blue is evidence against; null for arrays.
             */
            png: string | null;
            /** Rows */
            rows: number;
        };
        /**
         * HeatmapOutput
         * @description The part of an output that comes from each place of the frame.
         */
        HeatmapOutput: {
            /** Bias */
            bias: number;
            /**
             * Image Logit
             * @description The mean of the map.
             */
            image_logit: number;
            /** Label */
            label: string;
            /**
             * Map
             * @description Rows of places that tile the box; null for a PNG.
             */
            map: number[][] | null;
            /** Temperature */
            temperature: number;
        };
        /**
         * HeldExamplesAnswer
         * @description A classifier that has examples of the patient.
         */
        HeldExamplesAnswer: {
            /**
             * Classifier
             * @example finding
             */
            classifier: string;
            /**
             * Examples
             * @description Stored scans and uploads together.
             */
            examples: number;
            /**
             * Uploads
             * @description Those that came with a fit and are no stored scans.
             */
            uploads: number;
            /**
             * Versions
             * @description Versions that learnt from any of them.
             */
            versions: number[];
        };
        /**
         * HeldScansAnswer
         * @description Number of scans in one collection.
         */
        HeldScansAnswer: {
            /**
             * Collection
             * @example liver
             */
            collection: string;
            /** Scans */
            scans: number;
        };
        /**
         * HitAnswer
         * @description A similar scan; ``score`` is the cosine.
         */
        HitAnswer: {
            /** @description Null for a still of one region. */
            frame: components["schemas"]["HitFrame"] | null;
            scan: components["schemas"]["ScanRecord"];
            /**
             * Score
             * @example 0.93
             */
            score: number;
            /**
             * Vector
             * @description Only with with_vector.
             */
            vector?: number[] | null;
        };
        /**
         * HitFrame
         * @description The frame or region that is nearest to the query; ``score`` is its cosine.
         */
        HitFrame: {
            /**
             * Index
             * @example 12
             */
            index: number;
            /**
             * Region
             * @description Number of the region in the image's list, from 0.
             */
            region: number;
            /** Score */
            score: number;
            /**
             * Time S
             * @example 0.48
             */
            time_s: number | null;
        };
        /**
         * IgnoredAnswer
         * @description Something that the upload says, but the scan that was stored before does not.
         */
        IgnoredAnswer: {
            /**
             * Field
             * @example labels.finding
             */
            field: string;
            /**
             * Kept
             * @description Of the stored scan; null when it has none.
             */
            kept: unknown;
            /**
             * Sent
             * @description Was ignored.
             */
            sent: unknown;
        };
        /**
         * ImageAnswer
         * @description What the service read from a file, and which part of it was embedded.
         */
        ImageAnswer: {
            /** Burned In Reasons */
            burned_in_reasons: ("text_masked" | "text_kept" | "much_text" | "region_unsure" | "tagged_by_file")[];
            /**
             * Burned In Risk
             * @description Risk that names are left in the frame.
             * @enum {string}
             */
            burned_in_risk: "none" | "low" | "high";
            /**
             * Content Sha256
             * @description SHA-256 of the pixels that were embedded.
             */
            content_sha256: string;
            /**
             * Corrections
             * @description What the file states wrongly.
             */
            corrections: components["schemas"]["CorrectionAnswer"][];
            /** @description From DICOM; null when the file names none. */
            device: components["schemas"]["DeviceAnswer"] | null;
            /**
             * Format
             * @example png
             */
            format: string;
            /** Frame Rate Hz */
            frame_rate_hz: number | null;
            /**
             * Frames
             * @description Frames in the file.
             */
            frames: number;
            /**
             * Frames Used
             * @description Frames that were embedded.
             */
            frames_used: number;
            /** Height Px */
            height_px: number;
            /**
             * Kind
             * @enum {string}
             */
            kind: "frame" | "cine";
            /**
             * Masked Px
             * @description Pixels of the frame that were not used or were filled.
             */
            masked_px: number;
            /**
             * Quality
             * @description Reasons not to trust the frame.
             */
            quality: components["schemas"]["QualityAnswer"][];
            /**
             * Regions
             * @description Regions that were used, largest first.
             */
            regions: components["schemas"]["RegionAnswer"][];
            /**
             * Regions Used
             * @description Number of regions of each frame that were embedded, each by itself; the embedding of the file is the unit mean of all its embeddings.
             */
            regions_used: number;
            /** Sha256 */
            sha256: string;
            /**
             * Spacing Mm
             * @description Row and column size of a pixel anywhere in the frame; null when unknown.
             */
            spacing_mm: number[] | null;
            /**
             * Width Px
             * @description Of the upright frame, after its pixels became square.
             */
            width_px: number;
        };
        /**
         * ImportResult
         * @description How many scans were stored, and how many were already known.
         */
        ImportResult: {
            /** Collection */
            collection: string;
            /**
             * Erased
             * @description Scans left out, because their subject or study was erased since.
             */
            erased?: number | null;
            /**
             * Ignored
             * @description Known scans that have other labels or ids in the export, which stay.
             */
            ignored?: number | null;
            /** Known */
            known: number;
            /**
             * Refused
             * @description Scans that the policy of the workspace left out.
             */
            refused?: number | null;
            /** Stored */
            stored: number;
        };
        /**
         * IndexAnswer
         * @description How a collection is searched.
         */
        IndexAnswer: {
            /**
             * Compressed Scans
             * @description Scans that are searched approximately; scores are always exact.
             */
            compressed_scans: number;
            /**
             * Index Id
             * @description Name of the index in /metrics.
             * @example 6f1d0c3b9a27
             */
            index_id: string;
            /**
             * Lists
             * @description Of each segment, oldest first; empty on PostgreSQL, whose index has no lists.
             */
            lists: components["schemas"]["SegmentAnswer"][];
            /**
             * Mode
             * @enum {string}
             */
            mode: "exact" | "approximate";
            /**
             * Recall At 10
             * @description Share of the exact 10 best that recent searches found; null: not measured.
             */
            recall_at_10: number | null;
            /** Recall Samples */
            recall_samples: number;
            /** Scans */
            scans: number;
            /** Segments */
            segments: number;
        };
        /**
         * IntakeAnswer
         * @description What the collection refuses and stores.
         */
        IntakeAnswer: {
            /** High Risk Thumbnails */
            high_risk_thumbnails: boolean;
            /** Refuse Burned In */
            refuse_burned_in: ("low" | "high") | null;
            /** Refuse Quality */
            refuse_quality: ("blank" | "frozen" | "saturated" | "tiny" | "colour_doppler" | "photo_of_a_screen" | "not_ultrasound")[];
        };
        /**
         * IntakeBody
         * @description What a collection refuses and stores; by default it refuses nothing, and only advises.
         */
        IntakeBody: {
            /**
             * High Risk Thumbnails
             * @description Store thumbnails of pictures of burned-in risk high, in which names may be legible; otherwise such a scan has none.
             * @default false
             */
            high_risk_thumbnails?: boolean;
            /**
             * Refuse Burned In
             * @description The lowest burned-in risk that is refused.
             */
            refuse_burned_in?: ("low" | "high") | null;
            /**
             * Refuse Quality
             * @description Quality problems that are refused.
             */
            refuse_quality?: ("blank" | "frozen" | "saturated" | "tiny" | "colour_doppler" | "photo_of_a_screen" | "not_ultrasound")[];
        };
        /**
         * Interval
         * @description A metric with its 95 % interval over patients (groups).
         */
        Interval: {
            /** High */
            high: number;
            /** Low */
            low: number;
            /** Value */
            value: number;
        };
        /**
         * KeyAnswer
         * @description An API key, without its secret.
         */
        KeyAnswer: {
            /**
             * Classifiers
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            classifiers: string[] | null;
            /**
             * Collections
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            collections: string[] | null;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /** Expires At */
            expires_at: string | null;
            /** Key Id */
            key_id: string;
            /**
             * Last Used At
             * @description Up to a minute old.
             */
            last_used_at: string | null;
            /** Name */
            name: string;
            /**
             * Replaced By
             * @description Id of the key that a rotation made.
             */
            replaced_by: string | null;
            /** Revoked At */
            revoked_at: string | null;
            /** Roles */
            roles: string[];
            /**
             * Scopes
             * @description Beside those of the roles.
             */
            scopes: string[];
        };
        /**
         * KeyCreated
         * @description A new key and its secret, which no other answer shows.
         */
        KeyCreated: {
            key: components["schemas"]["KeyAnswer"];
            /**
             * Secret
             * @example sp_...
             */
            secret: string;
        };
        /**
         * KeyFramesAnswer
         * @description The fewest frames that hold half of the evidence for an output, strongest first.
         */
        KeyFramesAnswer: {
            /** Frames */
            frames: number[];
            /** Label */
            label: string;
        };
        /**
         * KeyLimits
         * @description Rates of a key, and what its requests may store; null: not limited here.
         */
        KeyLimits: {
            /**
             * Classifiers
             * @description That it created.
             */
            classifiers?: number | null;
            /**
             * Collections
             * @description That it created.
             */
            collections?: number | null;
            /**
             * Decode S Per Minute
             * @description Seconds (wall) of decoding.
             */
            decode_s_per_minute?: number | null;
            /**
             * Images Per Minute
             * @description Each used frame is one.
             */
            images_per_minute?: number | null;
            /** Requests Per Minute */
            requests_per_minute?: number | null;
            /** Scans */
            scans?: number | null;
            /**
             * Stored Bytes
             * @description Of vectors, thumbnails and kept images of the scans that it stored.
             */
            stored_bytes?: number | null;
        };
        /**
         * KeyPage
         * @description Keys of the workspace, oldest first.
         */
        KeyPage: {
            /** Items */
            items: components["schemas"]["KeyAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * KeyRotationBody
         * @description How long both keys are valid, and the new one after that.
         * @example {
         *       "overlap_s": 3600
         *     }
         */
        KeyRotationBody: {
            /**
             * Expires At
             * @description Of the successor; null: as the old key.
             */
            expires_at?: string | null;
            /**
             * Overlap S
             * @default 86400
             */
            overlap_s?: number;
        };
        /**
         * LabelForecast
         * @description The forecast for a label, or for a single-label classifier.
         */
        LabelForecast: {
            /** Curve */
            curve: components["schemas"]["CurvePointAnswer"][];
            /** Gain */
            gain: number | null;
            /**
             * Gain 90
             * @description Interval over repeats.
             */
            gain_90: number[] | null;
            /**
             * Gain Per Class
             * @description Class -> gain from more groups of it alone.
             */
            gain_per_class: {
                [key: string]: components["schemas"]["GainAnswer"];
            };
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            /** Missing Groups */
            missing_groups: {
                [key: string]: number;
            };
            /** More Groups Per Class */
            more_groups_per_class: number;
            /** Most Useful Class */
            most_useful_class: string | null;
            /** Not Forecast Because */
            not_forecast_because: string | null;
            /** Now */
            now: number | null;
            /** Weakest Class */
            weakest_class: string | null;
            /**
             * With More
             * @description Expected with that many more groups of every class.
             */
            with_more: number | null;
        };
        /**
         * LabelMetricsAnswer
         * @description Metrics of a label, or of a single-label classifier.
         */
        LabelMetricsAnswer: {
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            metrics: components["schemas"]["MetricsAnswer"];
            /** @description Calibration of the probabilities; null in comparisons. */
            reliability: components["schemas"]["ReliabilityAnswer"] | null;
            /**
             * Thresholds
             * @description Empty in comparisons.
             */
            thresholds: components["schemas"]["ThresholdCountsAnswer"][];
        };
        /**
         * LabelRenameAnswer
         * @description What a renaming changed.
         */
        LabelRenameAnswer: {
            /** Collection */
            collection: string;
            /** Dry Run */
            dry_run: boolean;
            /**
             * Merged Into
             * @description Scans that had the new label before.
             */
            merged_into: number;
            /**
             * Renamed
             * @description Scans that had the old label; each has a new ETag.
             */
            renamed: number;
            /** Task */
            task: string;
        };
        /**
         * LabelRenameBody
         * @description A class of a task, and its new name.
         * @example {
         *       "from": "Zyste",
         *       "merge": true,
         *       "task": "finding",
         *       "to": "cyst"
         *     }
         */
        LabelRenameBody: {
            /**
             * Dry Run
             * @description Count the scans, and change nothing.
             * @default false
             */
            dry_run?: boolean;
            /** From */
            from: string;
            /**
             * Merge
             * @description Whether scans may have the new label already.
             * @default false
             */
            merge?: boolean;
            /** Task */
            task: string;
            /** To */
            to: string;
        };
        /**
         * LabelledExample
         * @description A stored scan (``scan_id``), an image (``image``), or the next file of a form (neither).
         */
        LabelledExample: {
            /**
             * Collection
             * @description Of the scan; null: the request's.
             */
            collection?: string | null;
            /**
             * Image
             * @description One image file, base64.
             */
            image?: string | null;
            /** Label */
            label?: string | null;
            /**
             * Labels
             * @description Empty: no label is present.
             */
            labels?: string[] | null;
            /** Scan Id */
            scan_id?: string | null;
            /**
             * Study Id
             * @description Only for an image or file.
             */
            study_id?: string | null;
            /**
             * Subject Id
             * @description Only for an image or file.
             */
            subject_id?: string | null;
        };
        /**
         * LabelledSummary
         * @description An example with its class or labels.
         */
        LabelledSummary: {
            /** Collection */
            collection: string | null;
            /** Example Id */
            example_id: string;
            /**
             * Label
             * @description Its class; null for a multi-label classifier.
             */
            label: string | null;
            /**
             * Labels
             * @description Only for a multi-label classifier; else null.
             */
            labels: string[] | null;
            /**
             * Scan Id
             * @description Null for an upload.
             */
            scan_id: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG; null for an upload.
             */
            thumbnail: string | null;
        };
        /**
         * LayoutAnswer
         * @description The stored layout of a collection.
         */
        LayoutAnswer: {
            /** Collection */
            collection: string;
            /**
             * Kept
             * @description Mean share of the nearest neighbours of a scan (10, fewer of a small collection) that are its nearest on the map.
             */
            kept: number;
            /**
             * Placed
             * @description Scans with a place.
             */
            placed: number;
            /**
             * Placed At
             * @example 2026-11-24T09:30:00.000000Z
             */
            placed_at: string;
            /**
             * Scans
             * @description Scans of the collection; those without a place came later.
             */
            scans: number;
        };
        /**
         * LayoutResult
         * @description How many scans have a place on the map, and how many of its neighbours each keeps there.
         */
        LayoutResult: {
            /** Collection */
            collection: string;
            /**
             * Kept
             * @description Mean share of the 10 nearest neighbours.
             */
            kept: number;
            /** Placed */
            placed: number;
        };
        /**
         * Live
         * @description The process responds.
         */
        Live: {
            /**
             * Status
             * @constant
             */
            status: "live";
            /**
             * Version
             * @description Version of the program.
             * @example 0.1.0
             */
            version: string;
        };
        /**
         * MapAnswer
         * @description One entry of each list per scan.
         */
        MapAnswer: {
            /** Collection */
            collection: string;
            /**
             * Doubts
             * @description 0 to 1: of an example of the classifier, how improbable its own label is to heads that had not seen it; of another scan, 1 minus the highest probability.
             */
            doubts: number[] | null;
            /**
             * Explained
             * @description Share of the variance of the embeddings along x and y; null for a layout whose axes mean nothing.
             */
            explained: number[] | null;
            /**
             * Kept
             * @description Mean share of the nearest neighbours of a scan (10, fewer of a small collection) that are its nearest on the map; null: not measured.
             */
            kept: number | null;
            /**
             * Labels
             * @description Of the task; null: the scan has none.
             */
            labels: (string | null)[];
            /**
             * Layout
             * @enum {string}
             */
            layout: "principal" | "neighbours";
            /**
             * Machines
             * @description Manufacturer and model, as far as the file says; null: not asked for.
             */
            machines: (string | null)[] | null;
            /**
             * Placed At
             * @description When the layout was stored; scans of later are not on it.
             * @example 2026-11-24T09:30:00.000000Z
             */
            placed_at: string | null;
            /** Scan Ids */
            scan_ids: string[];
            /** Subject Ids */
            subject_ids: (string | null)[];
            /**
             * Total
             * @description Scans that pass the filter; a drawn part is on the map.
             */
            total: number;
            /** X */
            x: number[];
            /** Y */
            y: number[];
        };
        /**
         * MapBody
         * @description Which scans are on the map, how they lie there, and what colours them.
         * @example {
         *       "limit": 20000,
         *       "task": "finding"
         *     }
         */
        MapBody: {
            /**
             * Classifier
             * @description Whose `doubts` are wanted; needs `classifier.read`.
             */
            classifier?: string | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Layout
             * @description principal: the plane in which the scans differ most, at once. neighbours: the layout that `POST .../layout` stored, where near scans resemble each other.
             * @default principal
             * @enum {string}
             */
            layout?: "principal" | "neighbours";
            /**
             * Limit
             * @description Most points; others are not drawn.
             * @default 20000
             */
            limit?: number;
            /**
             * Machines
             * @description Whether `machines` is wanted.
             * @default false
             */
            machines?: boolean;
            /**
             * Task
             * @description Task of `labels`; null: no labels.
             */
            task?: string | null;
        };
        /**
         * MetricsAnswer
         * @description Metrics of held-out scores.
         */
        MetricsAnswer: {
            auroc: components["schemas"]["Interval"] | null;
            balanced_accuracy: components["schemas"]["Interval"] | null;
            /** Classes */
            classes: string[];
            /**
             * Confusion
             * @description [true class][predicted class] -> examples.
             */
            confusion: number[][];
            /**
             * Missing Groups
             * @description Class -> groups that the metrics still need.
             */
            missing_groups: {
                [key: string]: number;
            };
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            /** Per Class */
            per_class: components["schemas"]["ClassMetricsAnswer"][];
            /**
             * Scored
             * @description Examples with scores.
             */
            scored: number;
        };
        /**
         * MonitorAnswer
         * @description A version in use, against its reference.
         */
        MonitorAnswer: {
            /**
             * Alarming
             * @description Whether the last full window of any length alarms.
             */
            alarming: boolean;
            /**
             * Alarms
             * @description Windows that alarmed, newest first.
             */
            alarms: components["schemas"]["WindowTestAnswer"][];
            /** Classifier */
            classifier: string;
            /**
             * False Alarms Per 1000
             * @description For which the limits are set: per 1,000 answers to patients like those of the examples, over all windows and figures.
             */
            false_alarms_per_1000: number;
            /**
             * Latest
             * @description The last full window of each length.
             */
            latest: components["schemas"]["WindowTestAnswer"][];
            /** No Reference Because */
            no_reference_because: string | null;
            /** Not Tested Because */
            not_tested_because: string | null;
            outcomes: components["schemas"]["OutcomesAnswer"];
            reference: components["schemas"]["ReferenceAnswer"] | null;
            /** Version */
            version: number;
            /** Windows */
            windows: components["schemas"]["WindowUsageAnswer"][];
        };
        /**
         * NearDuplicateAnswer
         * @description Two scans that nearly repeat each other; the first one was stored before.
         */
        NearDuplicateAnswer: {
            /**
             * Differs
             * @description Fields with different values.
             * @example [
             *       "subject_id",
             *       "labels.finding"
             *     ]
             */
            differs: string[];
            first: components["schemas"]["ScanAnswer"];
            /**
             * Patients
             * @description `unknown`: at least one scan names no patient.
             * @enum {string}
             */
            patients: "different" | "unknown" | "same";
            /**
             * Same Image
             * @description They have the same file, or the same pixels.
             */
            same_image: boolean;
            second: components["schemas"]["ScanAnswer"];
            /**
             * Similarity
             * @description Cosine.
             * @example 0.998
             */
            similarity: number;
        };
        /**
         * NearDuplicatesAnswer
         * @description Pairs of different patients first, then those without a patient, then by similarity.
         */
        NearDuplicatesAnswer: {
            /** Collection */
            collection: string;
            /**
             * Compared
             * @description Of these: all, or of more than 20,000 a drawn part.
             */
            compared: number;
            /** Items */
            items: components["schemas"]["NearDuplicateAnswer"][];
            /**
             * Min Similarity
             * @description The cosine that was used.
             * @example 0.9
             */
            min_similarity: number;
            /**
             * Of Different Patients
             * @description Of these.
             */
            of_different_patients: number;
            /**
             * Scans
             * @description Of the collection.
             */
            scans: number;
            /**
             * Total
             * @description Number of all pairs that pass.
             */
            total: number;
        };
        /**
         * NearestExample
         * @description A labelled example that resembles the item.
         */
        NearestExample: {
            /** Collection */
            collection: string | null;
            /** Example Id */
            example_id: string;
            /**
             * Label
             * @description Its class; null for a multi-label classifier.
             */
            label: string | null;
            /**
             * Labels
             * @description Only for a multi-label classifier; else null.
             */
            labels: string[] | null;
            /**
             * Scan Id
             * @description Null for an upload.
             */
            scan_id: string | null;
            /**
             * Similarity
             * @description Cosine.
             */
            similarity: number;
            /**
             * Thumbnail
             * @description Path of a small JPEG; null for an upload.
             */
            thumbnail: string | null;
        };
        /**
         * NewClassifierBody
         * @description Fit from a label of a collection (``task``), from ``examples``, or from both.
         * @example {
         *       "collection": "liver",
         *       "name": "finding",
         *       "task": "finding"
         *     }
         */
        NewClassifierBody: {
            /**
             * Class Weights
             * @description Class or label -> weight. Null: balanced, or as in the version before.
             */
            class_weights?: "balanced" | {
                [key: string]: number;
            } | null;
            /** Collection */
            collection?: string | null;
            /**
             * Counted
             * @description groups: frames of one patient and class count once together; frames: each frame counts. Null: groups, or as in the version before.
             */
            counted?: ("groups" | "frames") | null;
            /** Examples */
            examples?: components["schemas"]["LabelledExample"][];
            /** @description Restricts the scans of the task. */
            filter?: components["schemas"]["FilterBody"];
            /**
             * Kind
             * @default single_label
             * @enum {string}
             */
            kind?: "single_label" | "multi_label";
            /** Name */
            name: string;
            /**
             * Task
             * @description Use every scan with a label for this task.
             */
            task?: string | null;
            /**
             * Tasks
             * @description Multi-label: task -> value that means present; scans with all these tasks.
             */
            tasks?: {
                [key: string]: string;
            };
            /**
             * Thresholds
             * @description Multi-label: label -> threshold of its probability; 0.5 by default.
             */
            thresholds?: {
                [key: string]: number;
            } | null;
            /** @description Null: none, or the scans of the version before. */
            unlabelled?: components["schemas"]["UnlabelledBody"] | null;
            /**
             * Views
             * @description true: fit to seven views of each example and predict with accuracy high, which takes seven times as long. examples: fit to the views and predict without. Scans need kept images. auto: examples where SONOPROBE_MAX_DEFAULT_VIEWS allows it and all examples have views; else false. Null: auto, or as in the version before.
             */
            views?: boolean | ("examples" | "auto") | null;
        };
        /**
         * NewCollectionBody
         * @description Create a collection.
         * @example {
         *       "description": "Abdominal scans of 2026",
         *       "intake": {
         *         "refuse_burned_in": "high",
         *         "refuse_quality": [
         *           "blank"
         *         ]
         *       },
         *       "name": "liver"
         *     }
         */
        NewCollectionBody: {
            /**
             * Description
             * @default
             */
            description?: string;
            intake?: components["schemas"]["IntakeBody"];
            /**
             * Keep Images
             * @description Keep the embedded pixels of new scans, without metadata, for a later encoder; false deletes those that were kept.
             * @default false
             */
            keep_images?: boolean;
            /** Name */
            name: string;
            /**
             * Retention Days
             * @description Older scans are deleted; null means never.
             */
            retention_days?: number | null;
        };
        /**
         * NewKeyBody
         * @description A key to create: roles, scopes, or both.
         * @example {
         *       "name": "bedside 3",
         *       "scopes": [
         *         "predict"
         *       ]
         *     }
         */
        NewKeyBody: {
            /**
             * Classifiers
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            classifiers?: string[] | null;
            /**
             * Collections
             * @description Names that the key may name, or their beginning and `*`; null: all.
             */
            collections?: string[] | null;
            /**
             * Expires At
             * @description Null: never.
             */
            expires_at?: string | null;
            /**
             * Name
             * @description Who will use the key.
             */
            name: string;
            /** Roles */
            roles?: ("reader" | "annotator" | "curator" | "operator" | "auditor" | "admin")[];
            /**
             * Scopes
             * @description Beside those of the roles.
             */
            scopes?: string[];
        };
        /**
         * NewScansBody
         * @description Images as JSON, with what the caller knows of each.
         * @example {
         *       "images": [
         *         "iVBORw0KGgo..."
         *       ],
         *       "metadata": [
         *         {
         *           "labels": {
         *             "finding": "benign"
         *           },
         *           "subject_id": "p1"
         *         }
         *       ]
         *     }
         */
        NewScansBody: {
            /** Images */
            images: string[];
            /**
             * Metadata
             * @description One object per image.
             */
            metadata?: components["schemas"]["ScanMetadata"][] | null;
        };
        /**
         * NewWorkspaceBody
         * @description A workspace to create.
         * @example {
         *       "name": "ward-7"
         *     }
         */
        NewWorkspaceBody: {
            /** Name */
            name: string;
        };
        /**
         * NextScan
         * @description A scan to label.
         */
        NextScan: {
            /**
             * Reason
             * @constant
             */
            reason: "diverse";
            scan: components["schemas"]["ScanAnswer"];
        };
        /**
         * NextScansAnswer
         * @description Scans to label, the most useful first.
         */
        NextScansAnswer: {
            /** Collection */
            collection: string;
            /** Items */
            items: components["schemas"]["NextScan"][];
            /**
             * Left Out
             * @description Of these: copies of labelled scans, and blank frames.
             */
            left_out: number;
            /** Tasks */
            tasks: string[];
            /**
             * Unlabelled
             * @description Scans of the collection that lack a label for a task.
             */
            unlabelled: number;
        };
        /**
         * NoveltyAnswer
         * @description Which distances are usual among the examples.
         */
        NoveltyAnswer: {
            /** Anchors */
            anchors: number;
            /**
             * Far From
             * @description Distance above which a query is far; null: no limit.
             */
            far_from: number | null;
            /**
             * Method
             * @enum {string}
             */
            method: "nearest" | "class_mean";
            /** Reference Groups */
            reference_groups: number;
            /** Usual Distance Median */
            usual_distance_median: number | null;
        };
        /**
         * OperatingPointAnswer
         * @description A threshold, with the target that it was chosen for.
         */
        OperatingPointAnswer: {
            /**
             * Chosen By
             * @example {
             *       "sensitivity": 0.95
             *     }
             */
            chosen_by: {
                [key: string]: number;
            };
            /** @description Null for a given threshold. */
            cross_fitted: components["schemas"]["CrossFitted"] | null;
            /** Label */
            label: string;
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            sensitivity: components["schemas"]["Interval"] | null;
            specificity: components["schemas"]["Interval"] | null;
            /**
             * Threshold
             * @description The class is called at this probability or above.
             */
            threshold: number;
        };
        /**
         * OperationAnswer
         * @description A long-running task.
         */
        OperationAnswer: {
            /** Cancel Asked */
            cancel_asked: boolean;
            /** Created At */
            created_at: string;
            /**
             * Kind
             * @enum {string}
             */
            kind: "fit" | "refit" | "reembed" | "export" | "import" | "layout" | "pseudonymize" | "backup" | "delete_workspace";
            /**
             * Operation Id
             * @example op_5f2b1c0d9e8a7463aa01
             */
            operation_id: string;
            problem: components["schemas"]["Problem"] | null;
            progress: components["schemas"]["ProgressAnswer"];
            /** Result */
            result: components["schemas"]["FitResult"] | components["schemas"]["RefitResult"] | components["schemas"]["ReembedResult"] | components["schemas"]["LayoutResult"] | components["schemas"]["PseudonymizeResult"] | components["schemas"]["BackupResult"] | components["schemas"]["ExportResult"] | components["schemas"]["ImportResult"] | components["schemas"]["WorkspaceDeletionResult"] | null;
            /**
             * State
             * @enum {string}
             */
            state: "waiting" | "running" | "done" | "failed" | "cancelled";
            /** Updated At */
            updated_at: string;
        };
        /**
         * OperationPage
         * @description Operations, newest first.
         */
        OperationPage: {
            /** Items */
            items: components["schemas"]["OperationAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * OutcomeBody
         * @description What a prediction said, and what turned out to be true.
         */
        OutcomeBody: {
            /**
             * Abstained
             * @description Whether the decision was abstained.
             */
            abstained: boolean;
            /**
             * Actual
             * @description The true class; of a multi-label classifier the labels that are present.
             */
            actual: string[];
            /**
             * Patient
             * @description Keyed digest of the patient, or the subject_id of the stored scans; only a digest of it is stored.
             */
            patient?: string | null;
            /**
             * Prediction Id
             * @description Of the prediction; a second outcome of it replaces the first.
             */
            prediction_id: string;
            /**
             * Probabilities
             * @description Probability of every class or label, as predicted.
             */
            probabilities: {
                [key: string]: number;
            };
            /**
             * Version
             * @description Version that answered.
             */
            version: number;
        };
        /**
         * OutcomeFiguresAnswer
         * @description Accuracy and calibration in use; null where `not_evaluated_because` says why.
         */
        OutcomeFiguresAnswer: {
            accuracy: components["schemas"]["Interval"] | null;
            /**
             * Answered
             * @description Share of outcomes without abstention.
             */
            answered: number | null;
            balanced_accuracy: components["schemas"]["Interval"] | null;
            /** Bins */
            bins: components["schemas"]["ConfidenceBinAnswer"][];
            /** Expected Calibration Error */
            expected_calibration_error: number | null;
            /**
             * Groups
             * @description Patients; predictions without one count as one each.
             */
            groups: number;
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            /** Outcomes */
            outcomes: number;
            /** @description Mean confidence minus accuracy. */
            overconfidence: components["schemas"]["Interval"] | null;
            /** Recall */
            recall: {
                [key: string]: components["schemas"]["Interval"] | null;
            };
        };
        /**
         * OutcomesAnswer
         * @description What turned out to be true of predictions.
         */
        OutcomesAnswer: {
            /**
             * Labels
             * @description One per label; one of all classes.
             */
            labels: components["schemas"]["OutcomeFiguresAnswer"][];
            /** Outcomes */
            outcomes: number;
            /**
             * With Patient
             * @description Outcomes that name a patient. The others count as patients of their own, so intervals are too narrow where several are of one patient.
             */
            with_patient: number;
        };
        /**
         * OutcomesBody
         * @description Outcomes of predictions.
         * @example {
         *       "outcomes": [
         *         {
         *           "abstained": false,
         *           "actual": [
         *             "benign"
         *           ],
         *           "patient": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
         *           "prediction_id": "prd_5f2b1c0d9e8a74630011",
         *           "probabilities": {
         *             "benign": 0.81,
         *             "malignant": 0.19
         *           },
         *           "version": 3
         *         }
         *       ]
         *     }
         */
        OutcomesBody: {
            /** Outcomes */
            outcomes: components["schemas"]["OutcomeBody"][];
        };
        /**
         * OutcomesStored
         * @description How many outcomes were stored.
         */
        OutcomesStored: {
            /**
             * Recorded
             * @description Predictions that had no outcome before.
             */
            recorded: number;
            /**
             * Replaced
             * @description Predictions whose earlier outcome was replaced.
             */
            replaced: number;
        };
        /**
         * OutputAnswer
         * @description A class of a single-label classifier, or a label of a multi-label one.
         */
        OutputAnswer: {
            /**
             * Abstained Because
             * @description Only for a label that is too near its threshold.
             */
            abstained_because: "ambiguous" | null;
            /**
             * Called
             * @description Whether the probability reaches the threshold, or without one the class is the answer; null when abstained.
             */
            called: boolean | null;
            /**
             * Label
             * @example benign
             */
            label: string;
            /**
             * Prediction Set
             * @description Only for a label: what can be true at the coverage.
             */
            prediction_set: ("absent" | "present")[] | null;
            /**
             * Probability
             * @description Probabilities of classes sum to 1; those of labels are independent.
             */
            probability: number;
            /**
             * Set By
             * @description Source of the threshold.
             * @enum {string}
             */
            set_by: "request" | "version" | "default";
            /**
             * Threshold
             * @description Null for a class that is called if it is the most probable and no class reaches a threshold of its own.
             */
            threshold: number | null;
        };
        /**
         * PolicyAnswer
         * @description The policy of a workspace.
         *
         *     ``limits``, ``each_key`` and ``keys`` are as its administrators set them; ``in_force`` is what
         *     holds, with the limits of the service and of its operator.
         */
        PolicyAnswer: {
            /** Each Key */
            each_key: {
                [key: string]: number;
            };
            /**
             * Etag
             * @example "3"
             */
            etag: string;
            /**
             * Granted
             * @description Limits of the workspace that the operator set in place of the settings'.
             */
            granted: {
                [key: string]: number;
            };
            /**
             * In Force
             * @description Limits of the workspace that hold.
             */
            in_force: {
                [key: string]: number;
            };
            /**
             * In Force Each Key
             * @description Limits of each key that hold.
             */
            in_force_each_key: {
                [key: string]: number;
            };
            intake: components["schemas"]["PolicyRulesAnswer"];
            /** Keys */
            keys: {
                [key: string]: {
                    [key: string]: number;
                };
            };
            /** Limits */
            limits: {
                [key: string]: number;
            };
            /**
             * Pseudonym Key
             * @description Name of the key of the pseudonyms, as they show it.
             * @example 5dc624
             */
            pseudonym_key: string | null;
            /**
             * Unfit
             * @description After a change: stored scans that break a rule, by rule; they stay.
             * @example {
             *       "pseudonyms": 12
             *     }
             */
            unfit?: {
                [key: string]: number;
            } | null;
            /**
             * Updated At
             * @description Null: there is no policy.
             * @example 2026-11-24T09:30:00.000000Z
             */
            updated_at: string | null;
        };
        /**
         * PolicyBody
         * @description The whole policy of a workspace: what is left out does not hold.
         * @example {
         *       "each_key": {
         *         "requests_per_minute": 600,
         *         "stored_bytes": 2000000000
         *       },
         *       "intake": {
         *         "pseudonyms": true,
         *         "refuse_burned_in": "high"
         *       },
         *       "limits": {
         *         "requests_per_minute": 3000,
         *         "scans": 100000
         *       }
         *     }
         */
        PolicyBody: {
            /** @description Of every key. */
            each_key?: components["schemas"]["KeyLimits"];
            intake?: components["schemas"]["PolicyRules"];
            /**
             * Keys
             * @description Key id -> further limits of this key.
             */
            keys?: {
                [key: string]: components["schemas"]["KeyLimits"];
            };
            limits?: components["schemas"]["WorkspaceLimits"];
        };
        /**
         * PolicyRules
         * @description What no client can store in the workspace.
         */
        PolicyRules: {
            /**
             * Pseudonyms
             * @description Ids of subjects and studies become pseudonyms under the key of the workspace before anything is stored; pseudonyms under it stay.
             * @default false
             */
            pseudonyms?: boolean;
            /**
             * Refuse Burned In
             * @description The lowest burned-in risk that is refused.
             */
            refuse_burned_in?: ("low" | "high") | null;
            /**
             * Refuse Kept Images
             * @description No collection keeps pixels.
             * @default false
             */
            refuse_kept_images?: boolean;
            /**
             * Refuse Not Ultrasound
             * @description Refuse files that fail the encoder's test for ultrasound.
             * @default false
             */
            refuse_not_ultrasound?: boolean;
            /**
             * Refuse Whole Frames
             * @description Refuse files of which the whole frame is used, such as region=none.
             * @default false
             */
            refuse_whole_frames?: boolean;
        };
        /**
         * PolicyRulesAnswer
         * @description What no client can store in the workspace.
         */
        PolicyRulesAnswer: {
            /** Pseudonyms */
            pseudonyms: boolean;
            /** Refuse Burned In */
            refuse_burned_in: ("low" | "high") | null;
            /** Refuse Kept Images */
            refuse_kept_images: boolean;
            /** Refuse Not Ultrasound */
            refuse_not_ultrasound: boolean;
            /** Refuse Whole Frames */
            refuse_whole_frames: boolean;
        };
        /**
         * PredictImagesBody
         * @description Images as JSON.
         * @example {
         *       "images": [
         *         "iVBORw0KGgo..."
         *       ]
         *     }
         */
        PredictImagesBody: {
            /** Images */
            images: string[];
        };
        /**
         * PredictScansBody
         * @description Predict stored scans instead of uploads.
         * @example {
         *       "collection": "liver",
         *       "scan_ids": [
         *         "scan-1",
         *         "scan-2"
         *       ]
         *     }
         */
        PredictScansBody: {
            /** Collection */
            collection: string;
            /** Scan Ids */
            scan_ids: string[];
        };
        /**
         * PredictionItem
         * @description The prediction for an image, clip or stored scan.
         */
        PredictionItem: {
            abstained: components["schemas"]["AbstentionAnswer"] | null;
            /**
             * Decision
             * @enum {string}
             */
            decision: "called" | "abstained";
            /**
             * Distance
             * @description Distance to the nearest example, 1 - cosine.
             */
            distance: number | null;
            /**
             * Distance Percentile
             * @description Percentage of the examples whose own distance is smaller.
             */
            distance_percentile: number | null;
            /**
             * Frames
             * @description Only for a clip or cine, in order.
             */
            frames: components["schemas"]["FrameAnswer"][] | null;
            heatmap: components["schemas"]["HeatmapAnswer"] | null;
            /** @description Only for an upload. */
            image: components["schemas"]["ImageAnswer"] | null;
            /**
             * Key Frames
             * @description Only for a clip or cine: the frames that explain each output.
             */
            key_frames: components["schemas"]["KeyFramesAnswer"][] | null;
            /**
             * Label
             * @description The called class, of several the one that exceeds its threshold most; null when abstained, when thresholds call no class, and for a multi-label classifier.
             * @example benign
             */
            label: string | null;
            /**
             * Most Probable
             * @description Most probable class or label, also when abstained.
             */
            most_probable: string;
            /** Nearest */
            nearest: components["schemas"]["NearestExample"][];
            /**
             * No Heatmap Because
             * @description Null unless a heat map was requested and there is none.
             */
            no_heatmap_because: string | null;
            /**
             * Outputs
             * @description Every class or label, in order.
             */
            outputs: components["schemas"]["OutputAnswer"][];
            /**
             * Prediction Id
             * @description Names this prediction in an outcome; predictions are not stored.
             * @example prd_5f2b1c0d9e8a74630011
             */
            prediction_id: string;
            /**
             * Prediction Set
             * @description Classes or labels that can be true at the coverage; null: too few examples.
             */
            prediction_set: string[] | null;
            /**
             * Scan Id
             * @description Only for a stored scan.
             */
            scan_id: string | null;
            /**
             * Ultrasound Score
             * @description Logit, above 0 for ultrasound; null when the encoder cannot tell.
             */
            ultrasound_score: number | null;
        };
        /**
         * PredictionSetsAnswer
         * @description What the prediction sets guarantee, or why there are none.
         */
        PredictionSetsAnswer: {
            /**
             * Label
             * @description Only for a multi-label classifier; else null.
             */
            label: string | null;
            /**
             * Missing
             * @description Class -> independent examples still needed.
             */
            missing: {
                [key: string]: number;
            };
            /** Not Enough Because */
            not_enough_because: string | null;
            /**
             * Per Class
             * @description Whether each class, or presence and absence, has the coverage by itself.
             */
            per_class: boolean;
        };
        /**
         * PredictionsAnswer
         * @description One item per image or scan, in order, with the accuracy of the classifier.
         */
        PredictionsAnswer: {
            /**
             * Accuracy
             * @description high: from seven views of each item, as the version was fitted.
             * @enum {string}
             */
            accuracy: "standard" | "high";
            /**
             * Balanced Accuracy
             * @description Mean over labels.
             */
            balanced_accuracy: number | null;
            /**
             * Calibrated
             * @description Whether the probabilities of every output are.
             */
            calibrated: boolean;
            /** @description Only with `cine=true`. */
            cine: components["schemas"]["CinePrediction"] | null;
            /**
             * Classifier
             * @example finding
             */
            classifier: string;
            /** Classifier Id */
            classifier_id: string;
            /** Coverage */
            coverage: number;
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Interval 95
             * @description Only for a single-label classifier; else null.
             */
            interval_95: number[] | null;
            /** Items */
            items: (components["schemas"]["PredictionItem"] | components["schemas"]["FailedItem"])[];
            /**
             * Kind
             * @enum {string}
             */
            kind: "single_label" | "multi_label";
            /** Not Calibrated Because */
            not_calibrated_because: string | null;
            /**
             * Prediction Sets
             * @description One per label; exactly one for a single-label classifier.
             */
            prediction_sets: components["schemas"]["PredictionSetsAnswer"][];
            /** Version */
            version: number;
            /** Warnings */
            warnings: string[];
        };
        /**
         * Presence
         * @description Whether a scan has the label or id at all.
         */
        Presence: {
            /** Exists */
            exists: boolean;
        };
        /**
         * Problem
         * @description RFC 9457 problem document; match on ``code``, a closed list (docs/errors.md).
         * @example {
         *       "code": "unknown_item",
         *       "detail": "no such collection in this workspace",
         *       "request_id": "req_5f2b1c0d9e8a7463",
         *       "status": 404,
         *       "title": "Unknown item",
         *       "type": "urn:sonoprobe:error:unknown_item"
         *     }
         */
        Problem: {
            /** Code */
            code: string;
            /** Detail */
            detail: string;
            /**
             * Errors
             * @description Only for validation_error; the first 20.
             */
            errors?: components["schemas"]["BrokenRule"][] | null;
            /**
             * More Errors
             * @description Number of broken rules that are not in errors; only if there are any.
             */
            more_errors?: number | null;
            /**
             * Refused
             * @description Only for an evaluation: the first 50 examples that it cannot use.
             */
            refused?: components["schemas"]["RefusedExampleAnswer"][] | null;
            /**
             * Request Id
             * @description Also in the header X-Request-Id and in the log.
             */
            request_id: string;
            /** Status */
            status: number;
            /** Title */
            title: string;
            /** Type */
            type: string;
        };
        /**
         * ProgressAnswer
         * @description Progress in units of the operation; ``total`` is 0 until it is known.
         */
        ProgressAnswer: {
            /** Done */
            done: number;
            /** Total */
            total: number;
        };
        /**
         * PseudonymizeResult
         * @description How many ids became pseudonyms, and of how many scans and uploaded examples they were.
         */
        PseudonymizeResult: {
            /** Examples */
            examples: number;
            /** Ids */
            ids: number;
            /**
             * Left
             * @description Scans that keep their id, because their collection has the same image under the pseudonym.
             */
            left: number;
            /** Scans */
            scans: number;
        };
        /**
         * QualityAnswer
         * @description A quality problem, with the measured value and the limit that it passed.
         */
        QualityAnswer: {
            /** Limit */
            limit: number;
            /**
             * Reason
             * @enum {string}
             */
            reason: "blank" | "frozen" | "saturated" | "tiny" | "colour_doppler" | "photo_of_a_screen" | "not_ultrasound";
            /** Value */
            value: number;
        };
        /**
         * QueryAnswer
         * @description The uploaded images of the query as the service read them.
         */
        QueryAnswer: {
            /** Images */
            images: components["schemas"]["ImageAnswer"][];
        };
        /**
         * QueryBody
         * @description One query: exactly one of scan_id, vector, image, or positive examples.
         * @example {
         *       "exclude_same": "subject",
         *       "filter": {
         *         "labels": {
         *           "finding": [
         *             "benign",
         *             "malignant"
         *           ]
         *         }
         *       },
         *       "group_by": "study",
         *       "k": 5,
         *       "min_score": 0.5,
         *       "scan_id": "scan-1"
         *     }
         */
        QueryBody: {
            /**
             * Diversity
             * @description 0: best first; higher: more varied hits (MMR, 1 - lambda).
             * @default 0
             */
            diversity?: number;
            /**
             * Encoder Id
             * @description Encoder of the vectors; checked if present.
             */
            encoder_id?: string | null;
            /** Exclude Same */
            exclude_same?: ("subject" | "study") | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Group By
             * @description At most group_size hits per patient, study or attribute cine_id.
             */
            group_by?: ("subject" | "study" | "cine") | null;
            /**
             * Group Size
             * @default 1
             */
            group_size?: number;
            /** Image */
            image?: string | null;
            /**
             * K
             * @default 10
             */
            k?: number;
            /**
             * Match
             * @description Whether a cine scores as a whole or by its nearest frame.
             * @default scan
             * @enum {string}
             */
            match?: "scan" | "frame";
            /**
             * Min Score
             * @default -1
             */
            min_score?: number;
            /**
             * Negative
             * @description Scan ids or other examples to avoid.
             */
            negative?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Positive
             * @description Scan ids or other examples.
             */
            positive?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Region
             * @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default.
             */
            region?: string | null;
            /** Scan Id */
            scan_id?: string | null;
            /**
             * Stored In
             * @description Collection of the scans in the query; null: the first collection.
             */
            stored_in?: string | null;
            /**
             * Study Id
             * @description Study of the uploaded query.
             */
            study_id?: string | null;
            /**
             * Subject Id
             * @description Subject of the uploaded query.
             */
            subject_id?: string | null;
            /** Vector */
            vector?: number[] | null;
            /**
             * With Vector
             * @description Return the embedding of each hit.
             * @default false
             */
            with_vector?: boolean;
        };
        /**
         * QueueAnswer
         * @description How busy a queue is.
         */
        QueueAnswer: {
            /**
             * Oldest S
             * @description Age of the item that has waited longest, seconds; 0 when none waits.
             * @example 0
             */
            oldest_s: number;
            /**
             * Running
             * @description Items that are being worked on.
             * @example 1
             */
            running: number;
            /**
             * Waiting
             * @description Items that wait.
             * @example 0
             */
            waiting: number;
        };
        /**
         * Ready
         * @description The service accepts requests; the queues tell how soon it answers them.
         */
        Ready: {
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Last Pass S
             * @description Time since the encoder's last pass that succeeded, seconds.
             * @example 0.4
             */
            last_pass_s: number | null;
            /**
             * Queues
             * @description `stills` and `clips`: files that are decoded; `encoder`: frames; `fits`; `operations`.
             */
            queues: {
                [key: string]: components["schemas"]["QueueAnswer"];
            };
            /**
             * Status
             * @constant
             */
            status: "ready";
        };
        /**
         * ReembedResult
         * @description The collection now belongs to the loaded encoder.
         */
        ReembedResult: {
            /** Collection */
            collection: string;
            /** Encoder Id */
            encoder_id: string;
            /** Scans */
            scans: number;
        };
        /**
         * ReembeddingAnswer
         * @description The change of a collection from one encoder to another.
         */
        ReembeddingAnswer: {
            /** Collection */
            collection: string;
            /**
             * Embedded
             * @description Scans that have a vector of the new encoder.
             */
            embedded: number;
            /** From Encoder Id */
            from_encoder_id: string;
            /**
             * State
             * @enum {string}
             */
            state: "embedding" | "switched";
            /** To Encoder Id */
            to_encoder_id: string;
        };
        /**
         * ReembeddingEnded
         * @description A re-embedding that was confirmed or taken back.
         */
        ReembeddingEnded: {
            /** Collection */
            collection: string;
            /**
             * Encoder Id
             * @description The encoder whose vectors were kept.
             */
            encoder_id: string;
        };
        /**
         * ReferenceAnswer
         * @description The same figures of the labelled examples, each by what had not seen its patient.
         */
        ReferenceAnswer: {
            /** Abstained Share */
            abstained_share: number;
            /** Confidence Mean */
            confidence_mean: number;
            /** Distance Median */
            distance_median: number | null;
            /** Examples */
            examples: number;
            /** Groups */
            groups: number;
            /**
             * Most Probable
             * @description Empty for a multi-label classifier.
             */
            most_probable: {
                [key: string]: number;
            };
            /** Similarity Median */
            similarity_median: number | null;
        };
        /**
         * RefitBody
         * @description Fit the next version from the labels that its source has now.
         * @example {
         *       "publish": true
         *     }
         */
        RefitBody: {
            /**
             * Class Weights
             * @description Class or label -> weight. Null: balanced, or as in the version before.
             */
            class_weights?: "balanced" | {
                [key: string]: number;
            } | null;
            /**
             * Collection
             * @description Another source: null = as before.
             */
            collection?: string | null;
            /**
             * Counted
             * @description groups: frames of one patient and class count once together; frames: each frame counts. Null: groups, or as in the version before.
             */
            counted?: ("groups" | "frames") | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Publish
             * @description Publish the new version at once.
             * @default false
             */
            publish?: boolean;
            /** Task */
            task?: string | null;
            /** Tasks */
            tasks?: {
                [key: string]: string;
            };
            /**
             * Thresholds
             * @description Multi-label: label -> threshold of its probability; 0.5 by default.
             */
            thresholds?: {
                [key: string]: number;
            } | null;
            /** @description Null: none, or the scans of the version before. */
            unlabelled?: components["schemas"]["UnlabelledBody"] | null;
            /**
             * Version
             * @description Version to start from: a number, `published` or `latest`.
             * @default latest
             */
            version?: string;
            /**
             * Views
             * @description true: fit to seven views of each example and predict with accuracy high, which takes seven times as long. examples: fit to the views and predict without. Scans need kept images. auto: examples where SONOPROBE_MAX_DEFAULT_VIEWS allows it and all examples have views; else false. Null: auto, or as in the version before.
             */
            views?: boolean | ("examples" | "auto") | null;
        };
        /**
         * RefitResult
         * @description One item per classifier that was fitted from what was erased.
         */
        RefitResult: {
            /** Classifiers */
            classifiers: components["schemas"]["RefittedClassifier"][];
        };
        /**
         * RefittedClassifier
         * @description The new version of a classifier (null when nothing of it was erased), or its error.
         */
        RefittedClassifier: {
            /** Code */
            code?: string | null;
            /** Detail */
            detail?: string | null;
            /** Name */
            name: string;
            /** Version */
            version?: number | null;
        };
        /**
         * RefusedExampleAnswer
         * @description A labelled example that cannot evaluate a version.
         */
        RefusedExampleAnswer: {
            /**
             * Code
             * @description Of the error of an unreadable image.
             */
            code: string | null;
            /** Collection */
            collection: string | null;
            /**
             * File
             * @description Number of the upload, from 0; null for a stored scan.
             */
            file: number | null;
            /**
             * Reason
             * @enum {string}
             */
            reason: "unreadable" | "unknown_scan" | "unknown_class" | "same_scan" | "same_image" | "same_subject" | "same_study" | "near_copy";
            /**
             * Scan Id
             * @description Null for an upload.
             */
            scan_id: string | null;
        };
        /**
         * RegionAnswer
         * @description A region of the frame that was used, in pixels of the upright frame, which are square.
         */
        RegionAnswer: {
            /**
             * Box
             * @description x0, y0, x1, y1, half open.
             * @example [
             *       120,
             *       60,
             *       800,
             *       518
             *     ]
             */
            box: number[];
            /** Confidence */
            confidence: number;
            /**
             * Found
             * @enum {string}
             */
            found: "declared" | "pixels" | "motion" | "caller" | "whole";
            /**
             * Outline
             * @description Corners x, y inside the box; empty when the region fills the box.
             */
            outline: number[][];
            /**
             * Spacing Mm
             * @description Row and column size of a pixel.
             */
            spacing_mm: number[] | null;
        };
        /**
         * RelabelledExample
         * @description An example, and its correct class or labels.
         */
        RelabelledExample: {
            /** Collection */
            collection?: string | null;
            /** Example Id */
            example_id?: string | null;
            /** Label */
            label?: string | null;
            /**
             * Labels
             * @description Empty: no label is present.
             */
            labels?: string[] | null;
            /** Scan Id */
            scan_id?: string | null;
        };
        /**
         * ReliabilityAnswer
         * @description How well probabilities are calibrated; 0 is best.
         */
        ReliabilityAnswer: {
            /** Brier */
            brier: number;
            /**
             * Ece
             * @description Expected calibration error.
             */
            ece: number;
            /** Log Loss */
            log_loss: number;
        };
        /**
         * ReviewAnswer
         * @description Labels to look at, most urgent first.
         */
        ReviewAnswer: {
            /** Classifier */
            classifier: string;
            /** Items */
            items: components["schemas"]["ReviewItemAnswer"][];
            /**
             * Kind
             * @enum {string}
             */
            kind: "next" | "suspect" | "conflict";
            /**
             * Left Out
             * @description Only for kind `next`: unlabelled scans that the version has learnt already, that copy a labelled scan, or that are blank.
             */
            left_out: number | null;
            /**
             * Total
             * @description Number of items without the `limit`; null for kind `next`.
             */
            total: number | null;
            /** Version */
            version: number;
        };
        /**
         * ReviewItemAnswer
         * @description A scan to label, a doubtful example, or two examples that contradict each other.
         */
        ReviewItemAnswer: {
            /** @description Only for kinds `suspect` and `conflict`. */
            example: components["schemas"]["LabelledSummary"] | null;
            /**
             * Guess
             * @description Class by the classifier; `present` or `absent` for `label`. Heads that had not seen the group of a suspect guess its class.
             */
            guess: string | null;
            /**
             * Label
             * @description The label in question of a multi-label classifier.
             */
            label: string | null;
            /** @description Only for kind `conflict`: its near copy. */
            other: components["schemas"]["LabelledSummary"] | null;
            /**
             * Probabilities
             * @description Probabilities of the guess and of its alternative.
             */
            probabilities: {
                [key: string]: number;
            } | null;
            /**
             * Reason
             * @enum {string}
             */
            reason: "uncertain" | "doubtful_label" | "conflicting_labels";
            /** @description Only for kind `next`. */
            scan: components["schemas"]["ScanAnswer"] | null;
            /**
             * Similarity
             * @description Only for kind `conflict`: cosine; 1: the same picture.
             */
            similarity: number | null;
        };
        /**
         * ScanAnswer
         * @description A stored scan.
         */
        ScanAnswer: {
            /**
             * Attributes
             * @example {
             *       "device": "handheld"
             *     }
             */
            attributes: {
                [key: string]: unknown;
            };
            /**
             * Collection
             * @example liver
             */
            collection: string;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Etag
             * @example "1"
             */
            etag: string;
            image: components["schemas"]["ImageAnswer"];
            /**
             * Labels
             * @example {
             *       "finding": "benign"
             *     }
             */
            labels: {
                [key: string]: string;
            };
            /**
             * Scan Id
             * @example scan-1
             */
            scan_id: string;
            /** Study Id */
            study_id: string | null;
            /**
             * Subject Id
             * @example p1
             */
            subject_id: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG.
             * @example /v1/collections/liver/scans/scan-1/thumbnail
             */
            thumbnail: string;
            /**
             * Updated At
             * @example 2026-11-24T09:30:00.000000Z
             */
            updated_at: string;
            /**
             * Vector
             * @description Only with with_vector: numbers, or base64 of little-endian values; int8 is value x 127.
             */
            vector?: number[] | string | null;
        };
        /**
         * ScanDeleted
         * @description What was deleted, and which classifiers were fitted from it.
         */
        ScanDeleted: {
            /**
             * Backups Know
             * @description Whether the erasure is written beside the backups; false: it will be as soon as the folder can be written; null: the service makes no backups.
             */
            backups_know: boolean | null;
            /**
             * Classifiers
             * @description Classifiers fitted from the scan; they stay.
             */
            classifiers: string[];
            /**
             * Copies
             * @description Scans that stay although they have the same file or pixels, at most 100: they are of another subject, or of none.
             */
            copies: components["schemas"]["ErasedScan"][];
            /** Deleted */
            deleted: string;
            /** @description The refit, if requested. */
            operation?: components["schemas"]["OperationAnswer"] | null;
        };
        /**
         * ScanMetadata
         * @description What the caller knows of an uploaded image; every field is optional.
         */
        ScanMetadata: {
            /** Attributes */
            attributes?: {
                [key: string]: string | boolean | number | null;
            };
            /** Labels */
            labels?: {
                [key: string]: string;
            };
            /** Scan Id */
            scan_id?: string | null;
            /** Study Id */
            study_id?: string | null;
            /** Subject Id */
            subject_id?: string | null;
        };
        /**
         * ScanPage
         * @description Scans in the order in which they were stored.
         */
        ScanPage: {
            /** Items */
            items: components["schemas"]["ScanAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * ScanPart
         * @description The fields of a scan that ``fields`` names, and its id.
         */
        ScanPart: {
            /** Attributes */
            attributes?: {
                [key: string]: unknown;
            };
            /** Collection */
            collection?: string;
            /** Created At */
            created_at?: string;
            /** Dim */
            dim?: number;
            /** Encoder Id */
            encoder_id?: string;
            /** Etag */
            etag?: string;
            image?: components["schemas"]["ImageAnswer"];
            /** Labels */
            labels?: {
                [key: string]: string;
            };
            /** Scan Id */
            scan_id: string;
            /** Study Id */
            study_id?: string | null;
            /** Subject Id */
            subject_id?: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG.
             */
            thumbnail?: string;
            /** Updated At */
            updated_at?: string;
            /**
             * Vector
             * @description Only with with_vector: numbers, or base64 of little-endian values; int8 is value x 127.
             */
            vector?: number[] | string | null;
        };
        /**
         * ScanPartPage
         * @description Chosen fields of scans, in the order in which the scans were stored.
         */
        ScanPartPage: {
            /** Items */
            items: components["schemas"]["ScanPart"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * ScanPatchBody
         * @description Change a scan; null in labels or attributes removes the entry.
         * @example {
         *       "labels": {
         *         "finding": "malignant"
         *       },
         *       "study_id": "s7"
         *     }
         */
        ScanPatchBody: {
            /** Attributes */
            attributes?: {
                [key: string]: string | boolean | number | null;
            };
            /** Labels */
            labels?: {
                [key: string]: string | null;
            };
            /** Study Id */
            study_id?: string | null;
            /** Subject Id */
            subject_id?: string | null;
        };
        /**
         * ScanRecord
         * @description A stored scan, without its encoder.
         */
        ScanRecord: {
            /**
             * Attributes
             * @example {
             *       "device": "handheld"
             *     }
             */
            attributes: {
                [key: string]: unknown;
            };
            /**
             * Collection
             * @example liver
             */
            collection: string;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Etag
             * @example "1"
             */
            etag: string;
            image: components["schemas"]["ImageAnswer"];
            /**
             * Labels
             * @example {
             *       "finding": "benign"
             *     }
             */
            labels: {
                [key: string]: string;
            };
            /**
             * Scan Id
             * @example scan-1
             */
            scan_id: string;
            /** Study Id */
            study_id: string | null;
            /**
             * Subject Id
             * @example p1
             */
            subject_id: string | null;
            /**
             * Thumbnail
             * @description Path of a small JPEG.
             * @example /v1/collections/liver/scans/scan-1/thumbnail
             */
            thumbnail: string;
            /**
             * Updated At
             * @example 2026-11-24T09:30:00.000000Z
             */
            updated_at: string;
        };
        /**
         * SearchAnswer
         * @description Best hits first.
         */
        SearchAnswer: {
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /** Items */
            items: components["schemas"]["HitAnswer"][];
            query: components["schemas"]["QueryAnswer"];
        };
        /**
         * SearchBody
         * @description One query over one or several collections, which are ranked as one; or ``queries``.
         *
         *     Each of ``queries`` is a separate search with its own options; the only other field is then
         *     ``collections``.
         * @example {
         *       "collections": [
         *         "liver",
         *         "liver-2025"
         *       ],
         *       "k": 5,
         *       "scan_id": "scan-1",
         *       "stored_in": "liver"
         *     }
         */
        SearchBody: {
            /** Collections */
            collections: string[];
            /**
             * Diversity
             * @description 0: best first; higher: more varied hits (MMR, 1 - lambda).
             * @default 0
             */
            diversity?: number;
            /**
             * Encoder Id
             * @description Encoder of the vectors; checked if present.
             */
            encoder_id?: string | null;
            /** Exclude Same */
            exclude_same?: ("subject" | "study") | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Group By
             * @description At most group_size hits per patient, study or attribute cine_id.
             */
            group_by?: ("subject" | "study" | "cine") | null;
            /**
             * Group Size
             * @default 1
             */
            group_size?: number;
            /** Image */
            image?: string | null;
            /**
             * K
             * @default 10
             */
            k?: number;
            /**
             * Match
             * @description Whether a cine scores as a whole or by its nearest frame.
             * @default scan
             * @enum {string}
             */
            match?: "scan" | "frame";
            /**
             * Min Score
             * @default -1
             */
            min_score?: number;
            /**
             * Negative
             * @description Scan ids or other examples to avoid.
             */
            negative?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Positive
             * @description Scan ids or other examples.
             */
            positive?: (string | components["schemas"]["SearchExample"])[];
            /** Queries */
            queries?: components["schemas"]["QueryBody"][] | null;
            /**
             * Region
             * @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default.
             */
            region?: string | null;
            /** Scan Id */
            scan_id?: string | null;
            /**
             * Stored In
             * @description Collection of the scans in the query; null: the first collection.
             */
            stored_in?: string | null;
            /**
             * Study Id
             * @description Study of the uploaded query.
             */
            study_id?: string | null;
            /**
             * Subject Id
             * @description Subject of the uploaded query.
             */
            subject_id?: string | null;
            /** Vector */
            vector?: number[] | null;
            /**
             * With Vector
             * @description Return the embedding of each hit.
             * @default false
             */
            with_vector?: boolean;
        };
        /**
         * SearchExample
         * @description An example to search by: a stored scan, a vector or an image.
         */
        SearchExample: {
            /** Image */
            image?: string | null;
            /** Scan Id */
            scan_id?: string | null;
            /** Vector */
            vector?: number[] | null;
        };
        /**
         * SearchOptions
         * @description How to search; the ``options`` of a form or of a raw image.
         * @example {
         *       "exclude_same": "subject",
         *       "k": 5,
         *       "subject_id": "p1"
         *     }
         */
        SearchOptions: {
            /**
             * Diversity
             * @description 0: best first; higher: more varied hits (MMR, 1 - lambda).
             * @default 0
             */
            diversity?: number;
            /** Exclude Same */
            exclude_same?: ("subject" | "study") | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Group By
             * @description At most group_size hits per patient, study or attribute cine_id.
             */
            group_by?: ("subject" | "study" | "cine") | null;
            /**
             * Group Size
             * @default 1
             */
            group_size?: number;
            /**
             * K
             * @default 10
             */
            k?: number;
            /**
             * Match
             * @description Whether a cine scores as a whole or by its nearest frame.
             * @default scan
             * @enum {string}
             */
            match?: "scan" | "frame";
            /**
             * Min Score
             * @default -1
             */
            min_score?: number;
            /**
             * Negative
             * @description Scan ids or other examples to avoid.
             */
            negative?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Positive
             * @description Scan ids or other examples.
             */
            positive?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Region
             * @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default.
             */
            region?: string | null;
            /**
             * Stored In
             * @description Collection of the scans in the query; null: the first collection.
             */
            stored_in?: string | null;
            /**
             * Study Id
             * @description Study of the uploaded query.
             */
            study_id?: string | null;
            /**
             * Subject Id
             * @description Subject of the uploaded query.
             */
            subject_id?: string | null;
            /**
             * With Vector
             * @description Return the embedding of each hit.
             * @default false
             */
            with_vector?: boolean;
        };
        /**
         * SearchOptionsAcross
         * @description How to search, and in which collections: at least one.
         * @example {
         *       "collections": [
         *         "liver",
         *         "liver-2025"
         *       ],
         *       "k": 5
         *     }
         */
        SearchOptionsAcross: {
            /** Collections */
            collections?: string[];
            /**
             * Diversity
             * @description 0: best first; higher: more varied hits (MMR, 1 - lambda).
             * @default 0
             */
            diversity?: number;
            /** Exclude Same */
            exclude_same?: ("subject" | "study") | null;
            filter?: components["schemas"]["FilterBody"];
            /**
             * Group By
             * @description At most group_size hits per patient, study or attribute cine_id.
             */
            group_by?: ("subject" | "study" | "cine") | null;
            /**
             * Group Size
             * @default 1
             */
            group_size?: number;
            /**
             * K
             * @default 10
             */
            k?: number;
            /**
             * Match
             * @description Whether a cine scores as a whole or by its nearest frame.
             * @default scan
             * @enum {string}
             */
            match?: "scan" | "frame";
            /**
             * Min Score
             * @default -1
             */
            min_score?: number;
            /**
             * Negative
             * @description Scan ids or other examples to avoid.
             */
            negative?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Positive
             * @description Scan ids or other examples.
             */
            positive?: (string | components["schemas"]["SearchExample"])[];
            /**
             * Region
             * @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default.
             */
            region?: string | null;
            /**
             * Stored In
             * @description Collection of the scans in the query; null: the first collection.
             */
            stored_in?: string | null;
            /**
             * Study Id
             * @description Study of the uploaded query.
             */
            study_id?: string | null;
            /**
             * Subject Id
             * @description Subject of the uploaded query.
             */
            subject_id?: string | null;
            /**
             * With Vector
             * @description Return the embedding of each hit.
             * @default false
             */
            with_vector?: boolean;
        };
        /**
         * SearchesAnswer
         * @description One item per query, in order.
         */
        SearchesAnswer: {
            /**
             * Dim
             * @example 1024
             */
            dim: number;
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /** Items */
            items: components["schemas"]["SearchesItem"][];
        };
        /**
         * SearchesItem
         * @description ``query`` and its hits in ``items``, or ``problem``.
         */
        SearchesItem: {
            /** Items */
            items?: components["schemas"]["HitAnswer"][] | null;
            problem?: components["schemas"]["Problem"] | null;
            query?: components["schemas"]["QueryAnswer"] | null;
        };
        /**
         * SegmentAnswer
         * @description How one segment of an index is searched.
         */
        SegmentAnswer: {
            /**
             * Lists
             * @description Lists of its compressed index; 0: it is searched exactly.
             */
            lists: number;
            /**
             * Measured
             * @description Whether a build chose probed_lists by the recall it measured; an index of release 0.1.0 has the default until its next build.
             */
            measured: boolean;
            /**
             * Probed Lists
             * @description Lists that a search looks through.
             */
            probed_lists: number;
            /** Scans */
            scans: number;
        };
        /**
         * SignatureAnswer
         * @description Who signed an imported classifier, as the workspace knew when it was imported.
         */
        SignatureAnswer: {
            /**
             * Key Id
             * @description Null: unsigned.
             * @example sig_0f7f7ea2c1d94b5b8e1f0a9b3c4d5e6f
             */
            key_id: string | null;
            /**
             * State
             * @enum {string}
             */
            state: "unsigned" | "trusted" | "unknown_key";
        };
        /**
         * SigningKeyAnswer
         * @description A public key that the workspace trusts; its own keys have `own`.
         */
        SigningKeyAnswer: {
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Key Id
             * @description A digest of the public key.
             * @example sig_0f7f7ea2c1d94b5b8e1f0a9b3c4d5e6f
             */
            key_id: string;
            /** Name */
            name: string;
            /**
             * Own
             * @description The workspace signs with it, or did.
             */
            own: boolean;
            /**
             * Public Key
             * @description Base64 of its DER, as between the lines of a PEM file.
             * @example MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
             */
            public_key: string;
            /**
             * Retired At
             * @description Since when another own key signs.
             */
            retired_at: string | null;
            /**
             * Signs
             * @description The workspace signs with it now.
             */
            signs: boolean;
        };
        /**
         * SigningKeyPage
         * @description The signing keys of the workspace, oldest first.
         */
        SigningKeyPage: {
            /** Items */
            items: components["schemas"]["SigningKeyAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * SourceAnswer
         * @description Where the examples of a version come from; later labels are found there.
         */
        SourceAnswer: {
            /**
             * Collection
             * @description Null: named scans and uploads only.
             */
            collection: string | null;
            /**
             * Filter
             * @description As the request wrote it; null when it named subjects or studies: then it is not kept, and a refit needs it again.
             */
            filter: {
                [key: string]: unknown;
            } | null;
            /**
             * Scans
             * @description Examples that are stored scans.
             */
            scans: number;
            /** Task */
            task: string | null;
            /**
             * Tasks
             * @description Multi-label: task -> value that means present.
             */
            tasks: {
                [key: string]: string;
            };
            /** Uploads */
            uploads: number;
        };
        /**
         * SourceChangesAnswer
         * @description How the labels of the source differ from what the version was fitted from.
         */
        SourceChangesAnswer: {
            /**
             * Changed
             * @description Examples whose scans have another label by now.
             */
            changed: number | null;
            /**
             * Newer
             * @description Labelled scans that the version has no example of.
             */
            newer: number | null;
            /**
             * Not Counted Because
             * @description Why the numbers are null.
             */
            not_counted_because: string | null;
            /**
             * Removed
             * @description Examples whose scans have no label by now, fail the filter, or are deleted.
             */
            removed: number | null;
        };
        /**
         * SubjectAnswer
         * @description What the workspace holds of one patient; only ``items`` are paged.
         */
        SubjectAnswer: {
            /** Classifiers */
            classifiers: components["schemas"]["HeldExamplesAnswer"][];
            /** Collections */
            collections: components["schemas"]["HeldScansAnswer"][];
            /**
             * Items
             * @description Scans, in the order of storing.
             */
            items: components["schemas"]["ScanRecord"][];
            /** Next Cursor */
            next_cursor: string | null;
            /**
             * Outcomes
             * @description Outcomes of predictions that name the patient.
             */
            outcomes: number;
            /** Scans */
            scans: number;
            /**
             * Study Ids
             * @description Of scans and uploaded examples.
             */
            study_ids: string[];
            /**
             * Subject Id
             * @example p1
             */
            subject_id: string;
        };
        /**
         * ThresholdAnswer
         * @description A threshold and its metrics on out-of-fold scores.
         */
        ThresholdAnswer: {
            /** Label */
            label: string;
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            sensitivity: components["schemas"]["Interval"] | null;
            specificity: components["schemas"]["Interval"] | null;
            /**
             * Threshold
             * @description The class is called at this probability or above.
             */
            threshold: number;
        };
        /**
         * ThresholdCountsAnswer
         * @description How often a class or label is called at its threshold, when present and when absent.
         */
        ThresholdCountsAnswer: {
            /** Label */
            label: string;
            /** Negatives */
            negatives: number;
            /** Negatives Called */
            negatives_called: number;
            /** Positives */
            positives: number;
            /** Positives Called */
            positives_called: number;
            /** Threshold */
            threshold: number;
        };
        /**
         * ThresholdTarget
         * @description A threshold for a class: a value, or the sensitivity or specificity it must reach.
         */
        ThresholdTarget: {
            /** Label */
            label: string;
            /** Sensitivity */
            sensitivity?: number | null;
            /** Specificity */
            specificity?: number | null;
            /** Threshold */
            threshold?: number | null;
        };
        /**
         * ThresholdsAnswer
         * @description The operating point of each requested class.
         */
        ThresholdsAnswer: {
            /** Classifier */
            classifier: string;
            /** Items */
            items: components["schemas"]["OperatingPointAnswer"][];
            /** Version */
            version: number;
        };
        /**
         * ThresholdsBody
         * @description All thresholds of the next version; an empty list removes them.
         * @example {
         *       "publish": true,
         *       "thresholds": [
         *         {
         *           "label": "malignant",
         *           "sensitivity": 0.95
         *         }
         *       ]
         *     }
         */
        ThresholdsBody: {
            /**
             * Publish
             * @description Publish the new version at once.
             * @default false
             */
            publish?: boolean;
            /** Thresholds */
            thresholds: components["schemas"]["ThresholdTarget"][];
        };
        /**
         * TimeRange
         * @description A range of times; a date means its first moment, a time without offset is UTC.
         */
        TimeRange: {
            /** Gt */
            gt?: string | null;
            /** Gte */
            gte?: string | null;
            /** Lt */
            lt?: string | null;
            /** Lte */
            lte?: string | null;
        };
        /**
         * TrustedKeyBody
         * @description The public key of somebody whose classifiers are trusted from now on.
         * @example {
         *       "name": "university hospital",
         *       "public_key": "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
         *     }
         */
        TrustedKeyBody: {
            /**
             * Name
             * @description Whose key it is.
             */
            name: string;
            /**
             * Public Key
             * @description For Ed25519: PEM, or base64 of its DER (SubjectPublicKeyInfo).
             */
            public_key: string;
        };
        /**
         * UnlabelledAnswer
         * @description Whether unlabelled scans taught a label's head, and why.
         */
        UnlabelledAnswer: {
            /**
             * Agreement
             * @description Share of the scans on which their graph and the labelled examples agree.
             */
            agreement: number | null;
            /** Because */
            because: string;
            /**
             * Gain
             * @description Cross-validated balanced accuracy with the scans minus without them; null: too few groups.
             */
            gain: number | null;
            /**
             * Scans
             * @description Unlabelled scans that were looked at.
             */
            scans: number;
            /**
             * Taught
             * @description Scans that taught the head; 0 when not used.
             */
            taught: number;
            /** Used */
            used: boolean;
        };
        /**
         * UnlabelledBody
         * @description Scans that take part in a fit without a label, where that helps.
         */
        UnlabelledBody: {
            /**
             * Collection
             * @description Null: none, also if the version before had some.
             */
            collection: string | null;
            filter?: components["schemas"]["FilterBody"];
        };
        /**
         * UnlabelledSettings
         * @description Where the unlabelled scans of a version come from.
         */
        UnlabelledSettings: {
            /** Collection */
            collection: string;
            /**
             * Filter
             * @description As the request wrote it; null when it named subjects or studies.
             */
            filter: {
                [key: string]: unknown;
            } | null;
            /**
             * Scans
             * @description How many the version lists; erasing one names the classifier.
             */
            scans: number;
        };
        /**
         * UsageAnswer
         * @description How much of their limits the key of the request and its workspace use.
         */
        UsageAnswer: {
            /** Key */
            key: components["schemas"]["UsedLimitAnswer"][];
            /**
             * Key Id
             * @description Null: the request has no key.
             */
            key_id: string | null;
            /**
             * Workspace
             * @description Null: the key lacks the scope admin.
             */
            workspace: components["schemas"]["UsedLimitAnswer"][] | null;
        };
        /**
         * UsedLimitAnswer
         * @description How much of a limit is used.
         */
        UsedLimitAnswer: {
            /**
             * Limit
             * @description Name of the limit, as in the problem of a request that it refuses.
             * @example images_per_minute
             */
            limit: string;
            /**
             * Most
             * @description Null: it is not limited.
             * @example 600
             */
            most: number | null;
            /**
             * Reset S
             * @description Seconds until a rate is unused again; null for what is stored.
             */
            reset_s: number | null;
            /**
             * Used
             * @description Of the last minute for a rate, in the process that answers; null: it is not limited, so nobody counts.
             * @example 12
             */
            used: number | null;
        };
        /**
         * VersionAnswer
         * @description A version, which never changes; the ETag is that of its classifier.
         */
        VersionAnswer: {
            /**
             * Accuracy
             * @description Of its predictions, its calibration and its report: high = with seven views.
             * @enum {string}
             */
            accuracy: "standard" | "high";
            /**
             * Calibrated
             * @description Whether every label is; the report gives the reason.
             */
            calibrated: boolean;
            /**
             * Classes
             * @description Classes or labels.
             * @example [
             *       "benign",
             *       "malignant"
             *     ]
             */
            classes: string[];
            /**
             * Classifier
             * @example finding
             */
            classifier: string;
            /** Classifier Id */
            classifier_id: string;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            created_by: components["schemas"]["CreatedBy"];
            /**
             * Encoder Id
             * @example enc_9f2c61b0a7d84e35c1f0b6aa
             */
            encoder_id: string;
            /**
             * Etag
             * @example "1"
             */
            etag: string;
            /**
             * Examples
             * @description Number of examples; see .../examples.
             */
            examples: number;
            /**
             * Kind
             * @enum {string}
             */
            kind: "single_label" | "multi_label";
            /** Published */
            published: boolean;
            /** @description Null for an import without a report. */
            report: components["schemas"]["VersionReport"] | null;
            settings: components["schemas"]["VersionSettings"];
            /** @description Of the document of an import, when it was imported; null for a fit. */
            signature: components["schemas"]["SignatureAnswer"] | null;
            /** @description Null for an import, for a version of release 0.1.0, and for a collection that the key may not name. */
            source: components["schemas"]["SourceAnswer"] | null;
            /** @description Counted when one classifier or version is read; null in other responses, and without labels of a collection. */
            source_changes: components["schemas"]["SourceChangesAnswer"] | null;
            /** Version */
            version: number;
        };
        /**
         * VersionPage
         * @description Versions, newest first.
         */
        VersionPage: {
            /** Items */
            items: components["schemas"]["VersionAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
        /**
         * VersionReport
         * @description The report of a version; metrics are means over labels.
         */
        VersionReport: {
            /** Balanced Accuracy */
            balanced_accuracy: number | null;
            /** Effective Examples */
            effective_examples: number;
            /** Examples */
            examples: number;
            /**
             * Examples Without Label
             * @description Only for a multi-label classifier; else null.
             */
            examples_without_label: number | null;
            grouping: components["schemas"]["GroupingAnswer"];
            /** Groups */
            groups: number;
            /**
             * Interval 95
             * @description Only for a single-label classifier; else null.
             */
            interval_95: number[] | null;
            /**
             * Labels
             * @description One per label; exactly one for a single-label classifier.
             */
            labels: components["schemas"]["HeadReportAnswer"][];
            /** Not Evaluated Because */
            not_evaluated_because: string | null;
            novelty: components["schemas"]["NoveltyAnswer"];
            /** Warnings */
            warnings: string[];
        };
        /**
         * VersionSettings
         * @description How a version was made; a later release may have stored more fields.
         */
        VersionSettings: {
            /** Added */
            added?: number | null;
            /**
             * Base Version
             * @description The version it was made from.
             */
            base_version?: number | null;
            /** Class Weights */
            class_weights?: {
                [key: string]: number;
            } | null;
            /** Counted */
            counted?: string | null;
            /** Dropped */
            dropped?: number | null;
            /** Imported */
            imported?: boolean | null;
            /**
             * Not Kept
             * @description Examples that were deleted meanwhile.
             */
            not_kept?: number | null;
            /**
             * Operating Points
             * @description Thresholds that were set, with their metrics.
             */
            operating_points?: components["schemas"]["OperatingPointAnswer"][] | null;
            /** Operation Id */
            operation_id?: string | null;
            /**
             * Origin
             * @description The card of an imported classifier.
             */
            origin?: {
                [key: string]: unknown;
            } | null;
            /**
             * Refit
             * @description Made by an erasure.
             */
            refit?: boolean | null;
            /** Relabelled */
            relabelled?: number | null;
            /**
             * Thresholds
             * @description Only for a multi-label classifier; else null.
             */
            thresholds?: {
                [key: string]: number;
            } | null;
            /**
             * Thresholds Dropped
             * @description Thresholds of the version before, which do not apply to the new head.
             */
            thresholds_dropped?: number | null;
            /** @description Null: none were given. */
            unlabelled?: components["schemas"]["UnlabelledSettings"] | null;
            /**
             * Unlabelled Not Kept
             * @description Unlabelled scans that were deleted meanwhile.
             */
            unlabelled_not_kept?: number | null;
            /**
             * Views
             * @description true: fitted to views, asked with views; examples: fitted to views. Null: no views, made before there was a default.
             */
            views?: boolean | "examples" | null;
            /**
             * Views Chosen By
             * @description The rule that chose views; null: the request did.
             */
            views_chosen_by?: string | null;
        } & {
            [key: string]: unknown;
        };
        /**
         * WindowTestAnswer
         * @description The test of a full window of answers.
         */
        WindowTestAnswer: {
            /** Alarms */
            alarms: boolean;
            /** Compared */
            compared: number;
            /**
             * Ended At
             * @example 2026-11-24T09:30:00.000000Z
             */
            ended_at: string;
            /**
             * False Alarm Share
             * @description Chance that an undisturbed window of this length alarms by any figure.
             */
            false_alarm_share: number;
            /** Figures */
            figures: components["schemas"]["FigureTestAnswer"][];
            /**
             * Started At
             * @example 2026-11-24T09:30:00.000000Z
             */
            started_at: string;
            /**
             * Window
             * @description Answers that fill it.
             * @example 200
             */
            window: number;
        };
        /**
         * WindowUsageAnswer
         * @description The answers of a stretch of time. Medians and means are null without comparable answers.
         */
        WindowUsageAnswer: {
            /**
             * Abstained
             * @description Reason -> answers.
             */
            abstained: {
                [key: string]: number;
            };
            /** Abstained Share */
            abstained_share: number | null;
            /** Answers */
            answers: number;
            /**
             * Called
             * @description Class or label -> answers that called it.
             */
            called: {
                [key: string]: number;
            };
            /**
             * Compared
             * @description Answers to pictures that are not blank and not frozen.
             */
            compared: number;
            /**
             * Confidence Mean
             * @description Of the greatest probability; for labels, of the mean of max(p, 1 - p).
             */
            confidence_mean: number | null;
            /**
             * Distance Median
             * @description Of 1 - cosine to the nearest example.
             */
            distance_median: number | null;
            /**
             * Ended At
             * @example 2026-11-24T09:30:00.000000Z
             */
            ended_at: string | null;
            /**
             * Findings
             * @description Quality finding -> answers.
             */
            findings: {
                [key: string]: number;
            };
            /**
             * Machines
             * @description Manufacturer and model -> answers.
             */
            machines: {
                [key: string]: number;
            };
            /**
             * Most Probable
             * @description Class or label -> share of the answers.
             */
            most_probable: {
                [key: string]: number;
            };
            /**
             * Similarity Median
             * @description Of the mean cosine to the nearest 5 examples.
             */
            similarity_median: number | null;
            /**
             * Sizes
             * @description Width x height of the frame -> answers.
             */
            sizes: {
                [key: string]: number;
            };
            /**
             * Started At
             * @example 2026-11-24T09:30:00.000000Z
             */
            started_at: string | null;
            /**
             * Window
             * @enum {string}
             */
            window: "hour" | "day" | "week" | "all";
        };
        /**
         * WorkspaceAnswer
         * @description A workspace: nothing in it is seen from another one.
         */
        WorkspaceAnswer: {
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Name
             * @example ward-7
             */
            name: string;
            /**
             * Status
             * @enum {string}
             */
            status: "active" | "suspended" | "deleting";
            /**
             * Workspace Id
             * @example ws_5f2b1c0d9e8a7463aa01
             */
            workspace_id: string;
        };
        /**
         * WorkspaceCreated
         * @description A new workspace, and a key of its administrator, whose secret no other answer shows.
         */
        WorkspaceCreated: {
            key: components["schemas"]["KeyAnswer"];
            /**
             * Secret
             * @example sp_...
             */
            secret: string;
            workspace: components["schemas"]["WorkspaceAnswer"];
        };
        /**
         * WorkspaceDeletionResult
         * @description The receipt: what was in the workspace when its deletion was asked for, and is gone.
         */
        WorkspaceDeletionResult: {
            /**
             * Backups Know
             * @description Whether the erasure is written beside the backups; false: it will be as soon as the folder can be written; null: the service makes no backups.
             */
            backups_know: boolean | null;
            /** Classifiers */
            classifiers: number;
            /** Collections */
            collections: number;
            /** Keys */
            keys: number;
            /** Operations */
            operations: number;
            /** Scans */
            scans: number;
            /**
             * Workspace
             * @description Its name, which is free again.
             */
            workspace: string;
            /** Workspace Id */
            workspace_id: string;
        };
        /**
         * WorkspaceDetail
         * @description A workspace, and how much is in it.
         */
        WorkspaceDetail: {
            /** Classifiers */
            classifiers: number;
            /** Collections */
            collections: number;
            /**
             * Created At
             * @example 2026-11-24T09:30:00.000000Z
             */
            created_at: string;
            /**
             * Keys
             * @description Revoked and expired ones included.
             */
            keys: number;
            /**
             * Name
             * @example ward-7
             */
            name: string;
            /**
             * Operations
             * @description Of the last 30 days.
             */
            operations: number;
            /** Scans */
            scans: number;
            /**
             * Status
             * @enum {string}
             */
            status: "active" | "suspended" | "deleting";
            /**
             * Workspace Id
             * @example ws_5f2b1c0d9e8a7463aa01
             */
            workspace_id: string;
        };
        /**
         * WorkspaceLimits
         * @description Rates, and what may be stored; null: not limited here.
         */
        WorkspaceLimits: {
            /** Classifiers */
            classifiers?: number | null;
            /** Collections */
            collections?: number | null;
            /**
             * Decode S Per Minute
             * @description Seconds (wall) of decoding.
             */
            decode_s_per_minute?: number | null;
            /**
             * Images Per Minute
             * @description Each used frame is one.
             */
            images_per_minute?: number | null;
            /** Requests Per Minute */
            requests_per_minute?: number | null;
            /** Scans */
            scans?: number | null;
            /**
             * Stored Bytes
             * @description Of vectors, thumbnails and kept images of all scans.
             */
            stored_bytes?: number | null;
        };
        /**
         * WorkspacePage
         * @description Workspaces, oldest first.
         */
        WorkspacePage: {
            /** Items */
            items: components["schemas"]["WorkspaceAnswer"][];
            /** Next Cursor */
            next_cursor: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    get_liveness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Live"];
                };
            };
        };
    };
    get_readiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Ready"];
                };
            };
        };
    };
    get_metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
        };
    };
    list_audit_entries: {
        parameters: {
            query?: {
                /** @description Name of an operation of this document. */
                action?: string | null;
                /** @description Id of a key, or subject of a token. */
                author?: string | null;
                outcome?: ("begun" | "ok" | "refused" | "failed") | null;
                /** @description Inclusive. */
                since?: string | null;
                /** @description Exclusive. */
                until?: string | null;
                /** @description A collection, a classifier, any id, also of a patient or a request. */
                name?: string | null;
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditPage"];
                };
            };
        };
    };
    verify_audit_log: {
        parameters: {
            query?: {
                /** @description Most entries that are verified. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditVerificationAnswer"];
                };
            };
        };
    };
    list_classifiers: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ClassifierPage"];
                };
            };
        };
    };
    create_classifier: {
        parameters: {
            query?: never;
            header?: {
                /** @description `respond-async`: answer 202 at once. */
                Prefer?: string | null;
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewClassifierBody"];
                "multipart/form-data": {
                    files: string[];
                    options: components["schemas"]["NewClassifierBody"];
                };
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ClassifierAnswer"];
                };
            };
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    import_classifier: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ClassifierImportBody"];
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ClassifierAnswer"];
                };
            };
        };
    };
    get_classifier: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ClassifierAnswer"];
                };
            };
        };
    };
    delete_classifier: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Deleted"];
                };
            };
        };
    };
    update_classifier: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ClassifierPatchBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ClassifierAnswer"];
                };
            };
        };
    };
    evaluate_classifier: {
        parameters: {
            query?: {
                /** @description A number, `published` or `latest`. */
                version?: string;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EvaluationBody"];
                "multipart/form-data": {
                    files: string[];
                    options?: components["schemas"]["EvaluationBody"];
                };
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EvaluationAnswer"];
                };
            };
        };
    };
    get_monitor: {
        parameters: {
            query?: {
                /** @description A number, `published` or `latest`. */
                version?: string;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MonitorAnswer"];
                };
            };
        };
    };
    put_outcomes: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OutcomesBody"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OutcomesStored"];
                };
            };
        };
    };
    predict_items: {
        parameters: {
            query?: {
                /** @description How often prediction sets contain the truth. */
                coverage?: number;
                /** @description Labelled examples to show as evidence. */
                nearest?: number;
                /** @description Where in each frame the answer comes from, as arrays or as a PNG. */
                heatmap?: "none" | "array" | "png";
                /** @description Class or label of the PNG; null: the most probable one. */
                heatmap_label?: string | null;
                /** @description label:probability, repeatable; each overrides that of the version. */
                threshold?: string[] | null;
                /** @description Also predict the images or scans as frames of one cine, in order. */
                cine?: boolean;
                /** @description high: seven views of each item, only for a version that was fitted with views; null: as the version was fitted. */
                accuracy?: ("standard" | "high") | null;
                /** @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default. */
                region?: string | null;
                /** @description A number, `published` or `latest`. */
                version?: string;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/dicom": string;
                "application/json": components["schemas"]["PredictImagesBody"] | components["schemas"]["PredictScansBody"];
                "image/*": string;
                "multipart/form-data": {
                    files: string[];
                };
                "video/*": string;
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PredictionsAnswer"];
                };
            };
            /** @description Some items failed; each holds its problem. */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PredictionsAnswer"];
                };
            };
        };
    };
    refit_classifier: {
        parameters: {
            query?: never;
            header?: {
                /** @description `respond-async`: answer 202 at once. */
                Prefer?: string | null;
                "Idempotency-Key"?: string | null;
                "If-Match"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RefitBody"];
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionAnswer"];
                };
            };
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    review_labels: {
        parameters: {
            query: {
                kind: "next" | "suspect" | "conflict";
                /** @description For kind `next`; null: as the version was fitted. */
                collection?: string | null;
                /** @description For kind `next`: scans that lack a label for a task. */
                task?: string[] | null;
                limit?: number;
                /** @description A number, `published` or `latest`. */
                version?: string;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewAnswer"];
                };
            };
        };
    };
    list_versions: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionPage"];
                };
            };
        };
    };
    get_version: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionAnswer"];
                };
            };
        };
    };
    compare_versions: {
        parameters: {
            query: {
                /** @description The other version. */
                with: string;
            };
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ComparisonAnswer"];
                };
            };
        };
    };
    get_confusion: {
        parameters: {
            query?: {
                /** @description Multi-label: only this label. */
                label?: string | null;
                /** @description Only cells of this true class. */
                actual?: string | null;
                /** @description Only cells of this predicted class. */
                predicted?: string | null;
                /** @description Most examples per cell. */
                limit?: number;
            };
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConfusionAnswer"];
                };
            };
        };
    };
    list_examples: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExamplePage"];
                };
            };
        };
    };
    change_examples: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
                "If-Match"?: string | null;
            };
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExampleChangesBody"];
                "multipart/form-data": {
                    files: string[];
                    options?: components["schemas"]["ExampleChangesBody"];
                };
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionAnswer"];
                };
            };
        };
    };
    export_classifier: {
        parameters: {
            query?: {
                format?: "json" | "onnx";
            };
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                    "application/octet-stream": string;
                };
            };
        };
    };
    get_forecast: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ForecastAnswer"];
                };
            };
        };
    };
    get_thresholds: {
        parameters: {
            query?: {
                sensitivity?: number | null;
                specificity?: number | null;
                threshold?: number | null;
                label?: string[] | null;
            };
            header?: never;
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ThresholdsAnswer"];
                };
            };
        };
    };
    set_thresholds: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
                "Idempotency-Key"?: string | null;
            };
            path: {
                name: string;
                /** @description A number, `published` or `latest`. */
                version: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ThresholdsBody"];
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VersionAnswer"];
                };
            };
        };
    };
    list_collections: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionPage"];
                };
            };
        };
    };
    create_collection: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewCollectionBody"];
            };
        };
        responses: {
            /** @description Created. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionAnswer"];
                };
            };
        };
    };
    get_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionAnswer"];
                };
            };
        };
    };
    delete_collection: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionDeleted"];
                };
            };
        };
    };
    patch_collection: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CollectionChangeBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionAnswer"];
                };
            };
        };
    };
    measure_agreement: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgreementBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgreementAnswer"];
                };
            };
        };
    };
    list_near_duplicates: {
        parameters: {
            query?: {
                /** @description Cosine; default: that of the encoder. */
                min_similarity?: number | null;
                /** @description Only these pairs; default: all. */
                patients?: ("different" | "unknown" | "same") | null;
                limit?: number;
            };
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NearDuplicatesAnswer"];
                };
            };
        };
    };
    export_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExportBody"];
            };
        };
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    count_scans: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FacetsBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FacetsAnswer"];
                };
            };
        };
    };
    import_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CollectionImportBody"];
            };
        };
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    rename_label: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LabelRenameBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LabelRenameAnswer"];
                };
            };
        };
    };
    get_layout: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LayoutAnswer"];
                };
            };
        };
    };
    lay_out_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    map_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MapBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MapAnswer"];
                };
            };
        };
    };
    list_next_scans: {
        parameters: {
            query: {
                /** @description Scans that lack a label for a task. */
                task: string[];
                limit?: number;
            };
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NextScansAnswer"];
                };
            };
        };
    };
    get_reembedding: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReembeddingAnswer"];
                };
            };
        };
    };
    reembed_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    end_reembedding: {
        parameters: {
            query: {
                /** @description new: confirm it; old: return to the old vectors, or give it up. */
                keep: "old" | "new";
            };
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReembeddingEnded"];
                };
            };
        };
    };
    list_scans: {
        parameters: {
            query?: {
                subject_id?: string | null;
                study_id?: string | null;
                /** @description task:class, repeatable */
                label?: string[] | null;
                /** @description name:value, repeatable; 4.5, true, null and "text" are read as JSON */
                attribute?: string[] | null;
                /** @description A filter as in searches, JSON. */
                filter?: string | null;
                /** @description Digests of files, repeatable: their stored scans, on one page. */
                sha256?: string[] | null;
                /** @description Return these fields of each scan and its id, repeatable; default: all. */
                fields?: ("scan_id" | "collection" | "subject_id" | "study_id" | "labels" | "attributes" | "image" | "thumbnail" | "created_at" | "updated_at" | "etag" | "encoder_id" | "dim" | "vector")[] | null;
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
                /** @description Return the embedding of each scan. */
                with_vector?: boolean;
                /** @description Of the vectors. */
                encoding_format?: "float" | "base64";
                /** @description Of the vectors. */
                dtype?: "float32" | "float16" | "int8";
            };
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScanPage"] | components["schemas"]["ScanPartPage"];
                };
            };
        };
    };
    add_scans: {
        parameters: {
            query?: {
                /** @description Frames of a clip to use: all, uniform:N, fps:F or different:N; the settings hold the default. */
                frames?: string | null;
                /** @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default. */
                region?: string | null;
                /** @description Only for a raw image; forms and JSON have metadata. */
                scan_id?: string | null;
                /** @description Only for a raw image; forms and JSON have metadata. */
                subject_id?: string | null;
                /** @description Only for a raw image; forms and JSON have metadata. */
                study_id?: string | null;
                /** @description task:class, repeatable. Only for a raw image; forms and JSON have metadata. */
                label?: string[] | null;
                /** @description JSON object, task -> class. Only for a raw image; forms and JSON have metadata. */
                labels?: string | null;
                /** @description JSON object, name -> value. Only for a raw image; forms and JSON have metadata. */
                attributes?: string | null;
            };
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/dicom": string;
                "application/json": components["schemas"]["NewScansBody"];
                "image/*": string;
                "multipart/form-data": {
                    files: string[];
                    /** @description A JSON list of one ScanMetadata per file. */
                    metadata?: string;
                };
                "video/*": string;
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AddedScansAnswer"];
                };
            };
            /** @description Some items failed; each holds its problem. */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AddedScansAnswer"];
                };
            };
        };
    };
    copy_scans: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CopyScansBody"];
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CopiedScansAnswer"];
                };
            };
            /** @description Some items failed; each holds its problem. */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CopiedScansAnswer"];
                };
            };
        };
    };
    get_scan: {
        parameters: {
            query?: {
                /** @description Return the embedding of each scan. */
                with_vector?: boolean;
                /** @description Of the vectors. */
                encoding_format?: "float" | "base64";
                /** @description Of the vectors. */
                dtype?: "float32" | "float16" | "int8";
            };
            header?: never;
            path: {
                collection: string;
                scan_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScanAnswer"];
                };
            };
        };
    };
    delete_scan: {
        parameters: {
            query?: {
                /** @description Refit and publish the classifiers that were fitted from it. */
                refit?: boolean;
            };
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                collection: string;
                scan_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScanDeleted"];
                };
            };
        };
    };
    patch_scan: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path: {
                collection: string;
                scan_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ScanPatchBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScanAnswer"];
                };
            };
        };
    };
    get_thumbnail: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                collection: string;
                scan_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/jpeg": unknown;
                };
            };
        };
    };
    search_collection: {
        parameters: {
            query?: {
                /** @description Options of a raw image, JSON. */
                options?: string | null;
            };
            header?: never;
            path: {
                collection: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/dicom": string;
                "application/json": components["schemas"]["QueryBody"];
                "image/*": string;
                "multipart/form-data": {
                    files: string[];
                    options?: components["schemas"]["SearchOptions"];
                };
                "video/*": string;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchAnswer"];
                };
            };
        };
    };
    embed_images: {
        parameters: {
            query?: {
                encoding_format?: "float" | "base64";
                dtype?: "float32" | "float16" | "int8";
                /** @description Frames of a clip to use: all, uniform:N, fps:F or different:N; the settings hold the default. */
                frames?: string | null;
                /** @description Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; the settings hold the default. */
                region?: string | null;
                /** @description none also returns the embedding of each used frame of a clip. */
                pool?: "mean" | "none";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/dicom": string;
                "application/json": components["schemas"]["EmbeddingsBody"];
                "image/*": string;
                "multipart/form-data": {
                    files: string[];
                    options?: components["schemas"]["EmbeddingOptions"];
                };
                "video/*": string;
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EmbeddingsAnswer"];
                };
            };
            /** @description Some items failed; each holds its problem. */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EmbeddingsAnswer"];
                };
            };
        };
    };
    get_encoder: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EncoderAnswer"];
                };
            };
        };
    };
    list_keys: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyPage"];
                };
            };
        };
    };
    create_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewKeyBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyCreated"];
                };
            };
        };
    };
    get_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyAnswer"];
                };
            };
        };
    };
    revoke_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyAnswer"];
                };
            };
        };
    };
    rotate_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["KeyRotationBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyCreated"];
                };
            };
        };
    };
    read_caller: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CallerAnswer"];
                };
            };
        };
    };
    list_operations: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationPage"];
                };
            };
        };
    };
    get_operation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                operation_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    cancel_operation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                operation_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    read_policy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PolicyAnswer"];
                };
            };
        };
    };
    replace_policy: {
        parameters: {
            query?: never;
            header?: {
                "If-Match"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PolicyBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PolicyAnswer"];
                };
            };
        };
    };
    pseudonymize: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    search: {
        parameters: {
            query?: {
                /** @description Options of a raw image, JSON. */
                options?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/dicom": string;
                "application/json": components["schemas"]["SearchBody"];
                "image/*": string;
                "multipart/form-data": {
                    files: string[];
                    options?: components["schemas"]["SearchOptionsAcross"];
                };
                "video/*": string;
            };
        };
        responses: {
            /** @description Done. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchAnswer"] | components["schemas"]["SearchesAnswer"];
                };
            };
            /** @description Some items failed; each holds its problem. */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchesAnswer"];
                };
            };
        };
    };
    list_signing_keys: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SigningKeyPage"];
                };
            };
        };
    };
    trust_signing_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TrustedKeyBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SigningKeyAnswer"];
                };
            };
        };
    };
    rotate_signing_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SigningKeyAnswer"];
                };
            };
        };
    };
    get_signing_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SigningKeyAnswer"];
                };
            };
        };
    };
    distrust_signing_key: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SigningKeyAnswer"];
                };
            };
        };
    };
    erase_study_of_query: {
        parameters: {
            query: {
                /** @description Any id, also one with slashes, which proxies between may change in a path. */
                study_id: string;
                /** @description Refit and publish the classifiers that were fitted from it. */
                refit?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureAnswer"];
                };
            };
        };
    };
    erase_study: {
        parameters: {
            query?: {
                /** @description Refit and publish the classifiers that were fitted from it. */
                refit?: boolean;
            };
            header?: never;
            path: {
                study_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureAnswer"];
                };
            };
        };
    };
    read_subject_of_query: {
        parameters: {
            query: {
                /** @description Any id, also one that a path cannot carry. */
                subject_id: string;
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SubjectAnswer"];
                };
            };
        };
    };
    erase_subject_of_query: {
        parameters: {
            query: {
                /** @description Any id, also one with slashes, which proxies between may change in a path. */
                subject_id: string;
                /** @description Refit and publish the classifiers that were fitted from it. */
                refit?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureAnswer"];
                };
            };
        };
    };
    read_subject: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path: {
                subject_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SubjectAnswer"];
                };
            };
        };
    };
    erase_subject: {
        parameters: {
            query?: {
                /** @description Refit and publish the classifiers that were fitted from it. */
                refit?: boolean;
            };
            header?: never;
            path: {
                subject_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErasureAnswer"];
                };
            };
        };
    };
    read_usage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageAnswer"];
                };
            };
        };
    };
    list_workspaces: {
        parameters: {
            query?: {
                /** @description Most items on this page. */
                limit?: number;
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspacePage"];
                };
            };
        };
    };
    create_workspace: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewWorkspaceBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspaceCreated"];
                };
            };
        };
    };
    get_workspace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                workspace: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspaceDetail"];
                };
            };
        };
    };
    delete_workspace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                workspace: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Started; poll the operation. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperationAnswer"];
                };
            };
        };
    };
    resume_workspace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                workspace: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspaceAnswer"];
                };
            };
        };
    };
    suspend_workspace: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                workspace: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspaceAnswer"];
                };
            };
        };
    };
}
