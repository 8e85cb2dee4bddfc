"""Paragraphs that the docstrings of several estimators share; see `_parameters.documented`.

CLASS stands for the name of the class.
"""

PARAGRAPHS = {
    "fm_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j
    """,
    "ffm_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_{i<j} ⟨v_{i,f(j)}, v_{j,f(i)}⟩ x_i x_j
    """,
    "fwfm_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_{i<j} r_{f(i)f(j)} ⟨v_i, v_j⟩ x_i x_j
    """,
    "logistic": """
        Σ_n c_n [ log(1 + exp(s(x_n))) − y_n s(x_n) + R(x_n) ],   y_n in {0, 1}
        R(x) = ½ Σ_{i: x_i ≠ 0} ( l2_linear · w_i² + l2_factors · ‖v_i‖² )
    """,
    "squared": """
        Σ_n c_n [ (s(x_n) − y_n)² / 2 + R(x_n) ],   y_n standardized
        R(x) = ½ Σ_{i: x_i ≠ 0} ( l2_linear · w_i² + l2_factors · ‖v_i‖² )
    """,
    "wide_deep_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_c u_{h(c)} x_c + net(E(x)),   E_a(x) = Σ_{i in field a} v_i x_i
        and, with interactions=True, + Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j
    """,
    "wide_deep_penalty": """
    R(x) = ½ wide_l2 (Σ_{i: x_i ≠ 0} w_i² + Σ_{c: x_c ≠ 0} u_{h(c)}²)
           + ½ deep_l2 Σ_{i: x_i ≠ 0} ‖v_i‖² + ½ layers_l2 Σ_l ‖W_l‖²
    """,
    "penalty": """
    plus the L1 penalties. Here c_n is the sample weight times the class weight of row n. A
    parameter pays its L2 penalty once for every row in which its column occurs, with either
    solver and any batch size.

    The unit of a column does not matter, because training uses (x − m) / r in place of x. In
    general m is 0 and r is the root mean square of the non-zero values. If most rows have a
    non-zero value, and the mean of the column exceeds half of its standard deviation, m is that
    mean and r that standard deviation. Columns of zeros and ones stay as they are. `fit` takes
    m and r from all rows, `partial_fit` from the first batch in which the column occurs; m is 0
    for columns that join later, and if there are fewer than 16 rows. Penalties apply to the
    parameters for these scaled values. Attributes such as `coef_` are for the values in X.
    """,
    "field_weights_penalty": """
        where R(x) also has the term ½ l2_field_weights Σ_{a≤b} r_ab²
    """,
    "labels": """
    The intercept w₀ is not penalized and starts at the log-odds of the labels. More than two
    classes are fitted one-vs-rest.
    """,
    "numbers": """
    Training standardizes the targets, because the learning rate bounds each step, whatever
    the unit of y. Predictions are in the unit of y, and losses in its square. The intercept w₀
    is not penalized and starts at the mean.
    """,
    "labels_example": """
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import CLASS
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = ["yes", "yes", "no", "no"] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"), CLASS(l2_factors=1e-3, random_state=0)
    ... )
    >>> model.fit(rows, clicks).predict([["ad1", "mon"], ["ad1", "tue"]])
    array(['yes', 'no'], dtype='<U3')
    """,
    "numbers_example": """
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import CLASS
    >>> rows = [["ann", "up"], ["bob", "jaws"], ["ann", "jaws"], ["bob", "up"]] * 50
    >>> stars = [5, 4, 1, 2] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"), CLASS(l2_factors=1e-3, random_state=0)
    ... )
    >>> model.fit(rows, stars).predict([["ann", "up"], ["ann", "jaws"]]).round()
    array([5., 1.])
    """,
    "classes_attribute": """
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    """,
    "attributes": """
    coef_ : ndarray of shape (n_outputs, n_features)
        Linear weights, per unit of the column, in log-odds or in the unit of y. n_outputs is
        1 except with more than two classes.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts, in log-odds or in the unit of y. They are not penalized.
    """,
    "fm_attributes": """
    factors_ : ndarray of shape (n_outputs, n_features, k)
        Factors, per unit of the column. Products of two are in log-odds or in the unit of
        y. Columns that never occurred in training have zeros.
    """,
    "ffm_attributes": """
    factors_ : ndarray of shape (n_outputs, n_features, n_fields, k)
        Factors, per unit of the column: ``factors_[o, i, b]`` is the vector of column i that
        multiplies those of columns of field b. Products of two are in log-odds or in the unit
        of y. Columns that never occurred in training have zeros. If the numbers of `fields_`
        have gaps, b counts without them.
    fields_ : ndarray of shape (n_features,)
        Field of each column.
    """,
    "fwfm_attributes": """
    factors_ : ndarray of shape (n_outputs, n_features, k)
        Factors, per unit of the column. Columns that never occurred in training have zeros.
    field_weights_ : ndarray of shape (n_outputs, n_fields, n_fields)
        Weights r of the pairs of fields, symmetric; they start at 1. A weight times a product
        of two factors is in log-odds or in the unit of y. If the numbers of `fields_` have
        gaps, its axes count without them.
    fields_ : ndarray of shape (n_features,)
        Field of each column.
    """,
    "wide_deep_attributes": """
    cross_coef_ : ndarray of shape (n_outputs, n_cross_buckets)
        Weights of the buckets of crosses, in log-odds or in the unit of y; n_cross_buckets
        is 0 here without crosses. The values that are crossed are those that training sees.
    embeddings_ : ndarray of shape (n_outputs, n_features, k)
        Embeddings, per unit of the column. With `interactions`, products of two are in
        log-odds or in the unit of y. Without, they do not depend on that unit. Columns that
        never occurred in training have zeros.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the layers, the output layer last. Only the output layer is in log-odds or
        in the unit of y. If there are several outputs, this and `intercepts_` are lists with
        one such list per output.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of the hidden layers, without a unit. That of the output layer is `intercept_`.
    fields_ : ndarray of shape (n_features,)
        Field of each column.
    """,
    "history_attributes": """
    n_iter_ : int
        Number of passes made (the largest over the outputs).
    best_iter_ : int
        Number of the pass whose weights were kept; 0 means the initial weights.
    loss_curve_ : list of float
        Mean training loss of each pass. Each row is scored before the step that learns from it.
        `best_iter_`, `loss_curve_` and `validation_scores_` are lists with one element
        per output if there are several.
    validation_scores_ : list of float
        Negated mean loss on the validation rows after each pass; empty without them.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    """,
    "machine_reference": """
    - S. Rendle (2010), Factorization Machines, IEEE International Conference on Data Mining,
      equations 1 and 5.
    """,
    "fwfm_reference": """
    - J. Pan et al. (2018), Field-weighted Factorization Machines for Click-Through Rate
      Prediction in Display Advertising, WWW, equation 4.
    """,
    "solver_references": """
    - J. Duchi, E. Hazan, Y. Singer (2011), Adaptive Subgradient Methods for Online Learning
      and Stochastic Optimization, JMLR 12.
    - H. B. McMahan et al. (2013), Ad Click Prediction: a View from the Trenches, KDD,
      algorithm 1.
    """,
    "wide_deep_references": """
    - H.-T. Cheng et al. (2016), Wide & Deep Learning for Recommender Systems, DLRS,
      section 3.
    - H. Guo et al. (2017), DeepFM: A Factorization-Machine based Neural Network for CTR
      Prediction, IJCAI, section 2.
    - X. Glorot, Y. Bengio (2010), Understanding the difficulty of training deep feedforward
      neural networks, AISTATS, equation 16.
    """,
    "ffm_reference": """
    - Y. Juan, Y. Zhuang, W.-S. Chin, C.-J. Lin (2016), Field-aware Factorization Machines
      for CTR Prediction, RecSys, equation 4.
    """,
    "cluster": """
    The model, the objective and the attributes are those of the estimator without Dask in its
    name, which `to_local` gives after a fit. Only ``batch_size="auto"`` differs: it is 1/400 of
    the rows, as far as the memory of a shard allows, because each step costs a round of
    messages. See :doc:`/dask` for how a fit works and what it costs.
    """,
}
