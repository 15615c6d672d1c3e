"""The rules that guard preview: pure functions on Kubernetes objects; ``__main__`` makes a CrossGuard pack of them."""
