// TLS to a shared store.

final class StoreTLS: Sendable {
    final class Session {}
    func session() throws(StoreFailure) -> Session { Session() }
}
