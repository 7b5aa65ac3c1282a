"""The peers, each as its own documentation would write it; run by the peer's interpreter."""
