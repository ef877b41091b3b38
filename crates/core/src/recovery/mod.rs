//! Recovery secrets: how the data encryption key is given to the holders of recovery keys (`spec/06`).
