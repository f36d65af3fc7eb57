"""The ZooKeeper backend of enlist."""
