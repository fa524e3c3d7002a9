// The words of the `on_…` keys. Each key takes those that its RFC and our way of failing safe leave open.

internal import PosternMail

extension ValueType<MailAction> {
    /// One of some actions.
    static func action(_ actions: MailAction...) -> ValueType {
        oneOf(actions.map { ($0.rawValue, $0) }, name: \.rawValue)
    }
}
