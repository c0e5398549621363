"""The data sets: real ones that come with scikit-learn and Python, and a synthetic one for scaling."""
